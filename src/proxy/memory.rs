//! How much memory requests hold in all, by estimate. Each worker counts for itself, and looks at the others only when
//! it has more than its share.

use crate::proxy::worker::Worker;
use http::Request;
use std::rc::Rc;

/// What one request holds; given back when it is dropped.
pub(crate) struct Charge {
    worker: Rc<Worker>,
    bytes: usize,
    /// How much of that is a piece of the response that the client has yet to take.
    response: usize,
}

impl Charge {
    /// Nothing is held yet.
    pub(crate) fn new(worker: &Rc<Worker>) -> Charge {
        Charge { worker: Rc::clone(worker), bytes: 0, response: 0 }
    }

    /// Whether requests hold so little of the `max` bytes that there is room for another one. What those that are under
    /// way take more has the last tenth.
    pub(crate) fn has_room(&self, max: usize) -> bool {
        let all = self.worker.all_stats();
        let most = i64::try_from(max / 10 * 9).unwrap_or(i64::MAX);
        let share = most / i64::try_from(all.stripes.count()).unwrap_or(i64::MAX);
        let own = self.worker.stats().request_bytes.get();
        own <= share || all.stripes.level(|stripe| &stripe.request_bytes) <= most
    }

    /// The request holds so many bytes more until it ends.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.count(bytes, 0);
    }

    /// Its client has yet to take so many bytes of the response, in place of those before.
    pub(crate) fn hold_response(&mut self, bytes: usize) {
        // Nearly all responses are so small that it makes no difference.
        let bytes = if bytes < LARGE_BYTES { 0 } else { bytes };
        let before = std::mem::replace(&mut self.response, bytes);
        if before != bytes {
            self.bytes = self.bytes + bytes - before;
            self.count(bytes, before);
        }
    }

    fn count(&self, more: usize, less: usize) {
        let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.worker.stats().request_bytes.add(signed(more) - signed(less));
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.count(0, self.bytes);
    }
}

/// About as much as the head of a request takes on its way: its fields as they came, once more to send them again, once
/// more as they are sent, what a map of them takes for each, and what everything else about a request takes.
pub(crate) fn head_bytes<B>(request: &Request<B>) -> usize {
    let fields = request.headers();
    let text: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    REQUEST_BYTES + 3 * (target + text) + fields.len() * FIELD_BYTES
}

/// Tasks, timers and what is decided about a request.
const REQUEST_BYTES: usize = 4096;

/// An entry of a header map with its share of the index.
const FIELD_BYTES: usize = 128;

/// Pieces of responses that are smaller count for nothing.
const LARGE_BYTES: usize = 16 << 10;
