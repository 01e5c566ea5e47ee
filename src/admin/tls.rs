//! TLS of the admin listener: its certificate, read again at each reload, and who its clients prove to be.

use crate::tls::server::ALPN_HTTP1;
use crate::tls::server::ServerTls;
use crate::tls::settings::ServerFiles;
use crate::tls::subject;
use arc_swap::ArcSwap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio_rustls::server::TlsStream;

/// What operators are shown and asked for at the moment.
pub(crate) struct AdminTls {
    current: ArcSwap<ServerTls>,
}

/// Who a client is by its certificate, such as `CN=alice,O=Example`: a CA of `client-ca` vouches for that.
#[derive(Clone, Debug)]
pub(crate) struct Subject(pub(crate) Arc<str>);

impl AdminTls {
    /// Reads all files; the error is a text for people.
    pub(crate) fn load(settings: &ServerFiles) -> Result<AdminTls, String> {
        read(settings, None).map(|tls| AdminTls { current: ArcSwap::new(tls) })
    }

    /// Reads all files again, for [`AdminTls::put`].
    pub(crate) fn read_again(&self, settings: &ServerFiles) -> Result<Arc<ServerTls>, String> {
        read(settings, Some(&self.current.load_full()))
    }

    /// What was read counts for all handshakes from now on.
    pub(crate) fn put(&self, read: Arc<ServerTls>) {
        self.current.store(read);
    }

    /// Shakes hands within `patience`; where a `client-ca` is set, with nobody who shows no certificate of it.
    pub(crate) async fn accept<S>(&self, stream: S, patience: Duration) -> io::Result<(TlsStream<S>, Option<Subject>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = self.current.load().acceptor();
        let stream = tokio::time::timeout(patience, acceptor.accept(stream)).await??;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let subject = shown.map(|certificate| Subject(subject::of(certificate).into()));
        Ok((stream, subject))
    }
}

fn read(settings: &ServerFiles, before: Option<&Arc<ServerTls>>) -> Result<Arc<ServerTls>, String> {
    let read = ServerTls::load(settings, &[ALPN_HTTP1], before).map_err(|error| format!("[admin]: {error}"))?;
    read.ok_or_else(|| "[admin]: `tls` has no certificate".to_owned())
}
