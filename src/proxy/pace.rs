//! How fast a client has to send a body.

use crate::metrics::limit::Limit;
use crate::proxy::alarm::Alarm;
use crate::proxy::error::ProxyError;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;
use tokio::time::Instant;

/// Watches how long a client is waited for in all while it sends a body, and how long at a time. It looks at the clock
/// only when the client is waited for, and what the node takes its time for does not count.
#[derive(Debug)]
pub(crate) struct Pace {
    /// How long the client may be silent at a time, and in all before it has to have sent anything.
    patience: Duration,
    /// Bytes for which it gets another second; 0 is for as long as it likes.
    min_rate: u64,
    /// How long it was waited for before the silence of the moment.
    waited: Duration,
    /// Since when it is waited for.
    since: Option<Instant>,
    alarm: Alarm,
    /// How it has failed already.
    failure: Option<UploadFailure>,
}

impl Pace {
    /// Nothing is waited for yet. `min_rate` is in bytes per second.
    pub(crate) fn new(patience: Duration, min_rate: u32) -> Pace {
        let (min_rate, waited) = (u64::from(min_rate), Duration::ZERO);
        Pace { patience, min_rate, waited, since: None, alarm: Alarm::default(), failure: None }
    }

    /// How the client has failed, if it has.
    pub(crate) fn failure(&self) -> Option<UploadFailure> {
        self.failure
    }

    /// Something came.
    pub(crate) fn came(&mut self) {
        if let Some(since) = self.since.take()
            && self.min_rate > 0
        {
            self.waited += since.elapsed();
        }
    }

    /// Ready when the client that has sent `received` bytes so far is waited for no longer. Its time in all is what
    /// Apache's mod_reqtimeout gives with `MinRate`: the more it has sent, the more of it.
    pub(crate) fn poll_over(&mut self, received: u64, cx: &mut Context<'_>) -> Poll<UploadFailure> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let left = self.earned(received).map_or(Duration::MAX, |earned| earned.saturating_sub(self.waited));
        ready!(self.alarm.poll(since + self.patience.min(left), cx));
        let failure = if left < self.patience { UploadFailure::Slow } else { UploadFailure::Silent };
        self.failure = Some(failure);
        Poll::Ready(failure)
    }

    /// How long the client may be waited for in all; `None` is for as long as it likes.
    fn earned(&self, received: u64) -> Option<Duration> {
        let millis = received.saturating_mul(1000).checked_div(self.min_rate)?;
        Some(self.patience.saturating_add(Duration::from_millis(millis)))
    }
}

/// What went wrong on the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadFailure {
    /// It ended early or was malformed.
    Broken,
    /// Nothing came for `limits.body-timeout`.
    Silent,
    /// It came more slowly than `limits.min-body-rate`.
    Slow,
}

impl UploadFailure {
    /// The limit that made it one.
    pub(crate) fn limit(self) -> Option<Limit> {
        match self {
            UploadFailure::Broken => None,
            UploadFailure::Silent => Some(Limit::BodyTimeout),
            UploadFailure::Slow => Some(Limit::MinBodyRate),
        }
    }
}

impl From<UploadFailure> for ProxyError {
    fn from(failure: UploadFailure) -> ProxyError {
        match failure {
            UploadFailure::Broken => ProxyError::ClientBody,
            UploadFailure::Silent | UploadFailure::Slow => ProxyError::ClientBodyTimeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Sends so many bytes each time after so many milliseconds, until that is enough or the client is given up.
    async fn send(pace: &mut Pace, times: u64, bytes: u64, pause: u64) -> Result<(), (UploadFailure, Duration)> {
        let begun = Instant::now();
        for time in 0..times {
            let pause = tokio::time::sleep(Duration::from_millis(pause));
            tokio::select! {
                failure = poll_fn(|cx| pace.poll_over(time * bytes, cx)) => return Err((failure, begun.elapsed())),
                () = pause => pace.came(),
            }
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_its_patience_and_a_second_for_so_many_bytes() {
        let slow = |seconds| Err((UploadFailure::Slow, Duration::from_secs(seconds)));
        let silent = Err((UploadFailure::Silent, PATIENCE));
        for (rate, bytes, pause, expected) in [
            (240, 240, 1_000, Ok(())),
            (240, 100_000, 29_000, Ok(())),
            // A byte each second, with which silence alone is never over.
            (240, 1, 1_000, slow(30)),
            (240, 120, 1_000, slow(59)),
            (0, 1, 29_000, Ok(())),
            (240, 100_000, 31_000, silent),
            (0, 100_000, 31_000, silent),
        ] {
            let sent = send(&mut Pace::new(PATIENCE, rate), 100, bytes, pause).await;
            let rounded = sent.map_err(|(failure, after)| (failure, Duration::from_secs(after.as_secs())));
            assert_eq!(rounded, expected, "{bytes} bytes each {pause} ms at {rate} bytes a second");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_for_the_client_is_not_held_against_it() {
        let mut pace = Pace::new(PATIENCE, 240);
        for _ in 0..10 {
            // A node that reads nothing for a minute.
            tokio::time::sleep(2 * PATIENCE).await;
            assert_eq!(send(&mut pace, 1, 1, 2_000).await, Ok(()));
        }
        assert!(send(&mut pace, 10, 1, 2_000).await.is_err());
    }
}
