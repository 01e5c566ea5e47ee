//! The socket under an HTTP/2 connection to a node: counted until it is closed, which may be done from outside.

use crate::proxy::dial::NodeStream;
use crate::proxy::gather;
use crate::proxy::upstream::OpenConnection;
use crate::proxy::upstream::Slot;
use crate::proxy::waiting::Waiting;
use std::cell::RefCell;
use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;

/// One socket; all clones are the same. HTTP/2 reads and writes it in a task of its own, which ends soon after the
/// socket is cut or closed.
#[derive(Clone)]
pub(crate) struct SharedSocket {
    open: Rc<RefCell<Option<Open>>>,
    waiting: Arc<Waiting>,
}

struct Open {
    stream: NodeStream,
    /// Counts it.
    _counted: OpenConnection,
}

impl SharedSocket {
    /// A stream that has come about in this place.
    pub(super) fn new(stream: NodeStream, slot: Slot) -> SharedSocket {
        let waiting = Arc::<Waiting>::default();
        let open = Open { stream, _counted: OpenConnection::new(slot, Arc::clone(&waiting)) };
        SharedSocket { open: Rc::new(RefCell::new(Some(open))), waiting }
    }

    /// Closes it now, so that its file is free.
    pub(super) fn close(&self) {
        self.open.take();
        self.waiting.cut();
    }

    /// Whether nothing may come over it any more.
    pub(super) fn is_cut(&self) -> bool {
        self.waiting.is_cut()
    }

    fn with<T>(&self, ask: impl FnOnce(Pin<&mut NodeStream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *self.open.borrow_mut() {
            Some(open) => ask(Pin::new(&mut open.stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for SharedSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.waiting.poll_cut(cx).is_ready() {
            // An error and no end of the stream: what breaks off is not to look complete.
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.with(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for SharedSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| gather::poll_write(stream, cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
