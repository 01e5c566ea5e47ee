//! How much memory requests hold in all, by estimate. Each worker counts for itself, and looks at the others only when
//! it has more than its share.

use crate::proxy::client::ClientState;
use crate::proxy::sent_ahead::SentAhead;
use crate::proxy::server::Client;
use crate::proxy::worker::Worker;
use bytes::Buf;
use bytes::Bytes;
use http::Request;
use std::rc::Rc;
use std::sync::Arc;

/// What is held until this is dropped.
pub(crate) struct Charge {
    client: Rc<Client>,
    bytes: usize,
}

impl Charge {
    /// Nothing is held yet for this client.
    pub(crate) fn new(client: &Rc<Client>) -> Charge {
        Charge { client: Rc::clone(client), bytes: 0 }
    }

    /// Who serves the client.
    pub(crate) fn worker(&self) -> &Worker {
        self.client.worker()
    }

    /// The state of the client's connection.
    pub(crate) fn state(&self) -> &ClientState {
        &self.client.state
    }

    /// So many bytes more are held.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.set(self.bytes + bytes);
    }

    /// So many bytes are held by now.
    pub(crate) fn set(&mut self, bytes: usize) {
        self.client.worker().stats().request_bytes.add(signed(bytes) - signed(self.bytes));
        self.bytes = bytes;
    }

    /// Whether more may be held.
    pub(crate) fn has_room(&self) -> bool {
        let worker = self.client.worker();
        has_room(worker, worker.table().table.server.limits.max_request_memory)
    }

    /// What is held of the client's bodies until nodes take it, which is charged by itself.
    pub(crate) fn sent_ahead(&self) -> &Arc<SentAhead> {
        self.client.state.sent_ahead(self.client.worker())
    }

    /// A piece of the response, which is held by itself for as long as it takes the client. On HTTP/1 small ones are
    /// not counted: few of them wait at a time, and nearly all responses are so small that it makes no difference.
    pub(crate) fn piece(&self, bytes: Bytes) -> Piece {
        let counts = bytes.len() >= LARGE_BYTES || self.client.state.is_http2();
        let count = counts.then(|| Untaken::new(&self.client, bytes.len() + PIECE_BYTES));
        Held::new(bytes, count)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What is held of a response because its client has yet to take it.
pub(crate) struct Untaken {
    charge: Charge,
}

impl Untaken {
    fn new(client: &Rc<Client>, bytes: usize) -> Untaken {
        let mut charge = Charge::new(client);
        charge.add(bytes);
        let untaken = &client.state.untaken;
        untaken.set(untaken.get() + bytes);
        Untaken { charge }
    }

    /// So many of the bytes, to be held no longer than what is returned.
    fn split(&mut self, bytes: usize) -> Untaken {
        self.charge.bytes -= bytes;
        Untaken { charge: Charge { client: Rc::clone(&self.charge.client), bytes } }
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        let untaken = &self.charge.client.state.untaken;
        untaken.set(untaken.get() - self.charge.bytes);
    }
}

/// Whether requests hold so little of the `max` bytes that there is room for another one. What those that are under way
/// take more has the last tenth.
pub(crate) fn has_room(worker: &Worker, max: usize) -> bool {
    let all = &worker.all_stats().stripes;
    let most = signed(max / 10 * 9);
    let share = most / signed(all.count());
    worker.stats().request_bytes.get() <= share || all.level(|stripe| &stripe.request_bytes) <= most
}

/// By how much this worker should hold less because all of them hold more than there is room for: no more than what is
/// beyond its share.
pub(crate) fn excess(worker: &Worker, max: usize) -> usize {
    if has_room(worker, max) {
        return 0;
    }
    let all = &worker.all_stats().stripes;
    let most = signed(max / 10 * 9);
    let beyond_share = worker.stats().request_bytes.get() - most / signed(all.count());
    let beyond_all = all.level(|stripe| &stripe.request_bytes) - most;
    usize::try_from(beyond_share.min(beyond_all)).unwrap_or(0)
}

/// Bytes that somebody has yet to take; hyper drops them, and with them what counts them, when they are written, or
/// never will be.
#[derive(Debug, Default)]
pub(crate) struct Held<C> {
    bytes: Bytes,
    count: C,
}

impl<C> Held<C> {
    /// These, with what counts them.
    pub(crate) fn new(bytes: Bytes, count: C) -> Held<C> {
        Held { bytes, count }
    }
}

/// Bytes of a response on their way to the client, if they count.
pub(crate) type Piece = Held<Option<Untaken>>;

impl Piece {
    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes so many bytes from the beginning, or all there are.
    pub(crate) fn split_to(&mut self, length: usize) -> Piece {
        let bytes = self.bytes.split_to(length.min(self.bytes.len()));
        let count = self.count.as_mut().map(|count| count.split(bytes.len()));
        Held::new(bytes, count)
    }
}

impl From<Bytes> for Piece {
    /// One that was made here, and is small.
    fn from(bytes: Bytes) -> Piece {
        Held::new(bytes, None)
    }
}

impl<C> Buf for Held<C> {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, length: usize) {
        self.bytes.advance(length);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.bytes.copy_to_bytes(length)
    }
}

/// About as much as the head of a request takes on its way: its fields as they came, once more to send them again, once
/// more as they are sent, what a map of them takes for each, and what everything else about a request takes. `text` is
/// how many bytes the names and values of its fields have.
pub(crate) fn head_bytes<B>(request: &Request<B>, text: usize) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    REQUEST_BYTES + 3 * (target + text) + request.headers().len() * FIELD_BYTES
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Tasks, timers and what is decided about a request.
const REQUEST_BYTES: usize = 4096;

/// An entry of a header map with its share of the index.
const FIELD_BYTES: usize = 128;

/// Pieces of responses over HTTP/1 that are smaller count for nothing.
const LARGE_BYTES: usize = 16 << 10;

/// What a piece takes besides its bytes: itself, and its place in a queue of HTTP/2.
pub(super) const PIECE_BYTES: usize = 256;
