//! Upgraded connections: bytes in both directions until both sides are done, or the time of the node is over.

use crate::proxy::client::ClientStream;
use crate::proxy::exchange::Exchange;
use crate::proxy::upstream::Connection;
use crate::proxy::upstream::RawConnection;
use bytes::Bytes;
use std::future::poll_fn;
use std::io::Cursor;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::copy_bidirectional;

/// The node's side of a request that switched protocols. The request counts as open until the tunnel ends.
pub(crate) struct Tunnel {
    connection: Box<Connection>,
    exchange: Box<Exchange>,
}

impl Tunnel {
    /// A tunnel over the connection on which the node agreed to switch.
    pub(crate) fn new(connection: Box<Connection>, exchange: Box<Exchange>) -> Tunnel {
        Tunnel { connection, exchange }
    }

    /// Joins the node with the client, which has its answer by now.
    pub(crate) async fn join(mut self, client: ClientStream) {
        poll_fn(|cx| self.connection.poll_over(cx)).await;
        let Some(RawConnection { stream: node, ahead: node_ahead, open, .. }) = self.connection.into_raw() else {
            return;
        };
        let (client, client_ahead) = client.into_parts();
        let (mut client, mut node) = (rejoined(client, client_ahead), rejoined(node, node_ahead));
        let copied = tokio::select! {
            copied = copy_bidirectional(&mut client, &mut node) => copied,
            () = open.cut() => return,
        };
        // An error is how many a tunnel ends: one side went away.
        if let Ok((_, to_client)) = copied {
            self.exchange.sent(usize::try_from(to_client).unwrap_or(usize::MAX));
        }
    }
}

/// A stream that begins with what was read from it ahead.
fn rejoined<S: AsyncRead + AsyncWrite>(stream: S, ahead: Bytes) -> impl AsyncRead + AsyncWrite + Unpin {
    let (reader, writer) = tokio::io::split(stream);
    tokio::io::join(Cursor::new(ahead).chain(reader), writer)
}
