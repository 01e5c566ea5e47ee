//! The streams of an HTTP/2 connection: each a task of this thread, given up when its client takes nothing of it.

use crate::metrics::limit::Limit;
use crate::proxy::alarm::Alarm;
use crate::proxy::client::ClientState;
use crate::proxy::worker::Worker;
use pin_project_lite::pin_project;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;
use tokio::time::Instant;

/// Who has to do something before a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The client has a piece of the response to take, or to open its window for.
    Client,
    /// More of the response has to come.
    Node,
}

/// Response bytes that are handed over to HTTP/2 at a time: as many as a frame has unless its peer allows more. A
/// client has to take so many within `limits.write-timeout`, so that opening its window by a byte at a time is not
/// enough.
pub(crate) const PIECE_BYTES: usize = 16 * 1024;

/// Counts the streams of a connection that were reset before their response was complete.
#[derive(Debug, Default)]
pub(crate) struct Resets {
    count: Cell<u32>,
    since: Cell<Option<Instant>>,
}

impl Resets {
    /// One more. Returns whether that is more than `max` within `period`.
    pub(crate) fn note(&self, now: Instant, max: u32, period: Duration) -> bool {
        if self.since.get().is_none_or(|since| now.saturating_duration_since(since) > period) {
            self.since.set(Some(now));
            self.count.set(0);
        }
        self.count.set(self.count.get().saturating_add(1));
        self.count.get() > max
    }
}

/// Runs the streams of one connection.
#[derive(Clone)]
pub(crate) struct StreamExecutor {
    worker: Rc<Worker>,
    client: Rc<ClientState>,
    /// How long a client may take for a piece: `limits.write-timeout`.
    patience: Duration,
}

impl StreamExecutor {
    /// For the connection of `client`.
    pub(crate) fn new(worker: &Rc<Worker>, client: &Rc<ClientState>, patience: Duration) -> StreamExecutor {
        StreamExecutor { worker: Rc::clone(worker), client: Rc::clone(client), patience }
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let executor = self.clone();
        tokio::task::spawn_local(WatchedStream { stream, handed_over: None, alarm: Alarm::default(), executor });
    }
}

pin_project! {
    /// A stream that ends when its client takes nothing of it for too long; hyper resets one that is dropped.
    struct WatchedStream<F> {
        #[pin]
        stream: F,
        // When the client was given the piece that it has yet to take.
        handed_over: Option<Instant>,
        alarm: Alarm,
        executor: StreamExecutor,
    }
}

impl<F: Future<Output = ()>> Future for WatchedStream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let StreamExecutor { worker, client, patience } = &*this.executor;
        client.turn.set(None);
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match client.turn.take() {
            Some(Turn::Client) => *this.handed_over = Some(Instant::now()),
            Some(Turn::Node) => *this.handed_over = None,
            None => {}
        }
        let Some(since) = *this.handed_over else { return Poll::Pending };
        ready!(this.alarm.poll(since + *patience, cx));
        worker.stats().limit_hits.hit(Limit::WriteTimeout);
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn resets_are_counted_for_so_long() {
        let (resets, begun, period) = (Resets::default(), Instant::now(), Duration::from_secs(30));
        for (second, is_too_many) in [(0, false), (20, false), (30, true), (31, false), (40, false), (61, true)] {
            let now = begun + Duration::from_secs(second);
            assert_eq!(resets.note(now, 2, period), is_too_many, "after {second} s");
        }
    }
}
