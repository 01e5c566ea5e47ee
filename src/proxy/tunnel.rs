//! Upgraded connections: bytes in both directions until both sides are done.

use crate::proxy::exchange::Exchange;
use crate::proxy::worker::Worker;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::rc::Rc;

/// Joins a client and a node that have both switched protocols. The request counts as open, and the tunnel as a
/// connection, until it ends.
pub(crate) fn spawn(worker: &Rc<Worker>, client: OnUpgrade, node: OnUpgrade, mut exchange: Exchange) {
    let guard = worker.open_tunnel();
    tokio::task::spawn_local(async move {
        let (Ok(client), Ok(node)) = tokio::join!(client, node) else {
            return;
        };
        let (mut client, mut node) = (TokioIo::new(client), TokioIo::new(node));
        // An error is how many a tunnel ends: one side went away.
        if let Ok((_, to_client)) = tokio::io::copy_bidirectional(&mut client, &mut node).await {
            exchange.sent(usize::try_from(to_client).unwrap_or(usize::MAX));
        }
        drop(guard);
    });
}
