//! A deadline that moves with every request and hardly ever passes.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::task::ready;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::Sleep;

/// A timer that follows a deadline. Setting and cancelling a timer of the runtime costs more than the rest of a
/// request's bookkeeping, so this one stays set for a deadline that has moved on, and is set anew when that comes.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
    /// Whom the timer wakes.
    waker: Option<Waker>,
}

impl Alarm {
    /// Whether there is a timer, set for whatever deadline.
    pub(crate) fn is_set(&self) -> bool {
        self.timer.is_some()
    }

    /// Ready once `deadline` has passed; until then the task is woken for it, and now and then for an earlier one.
    pub(crate) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        } else if !timer.is_elapsed() && self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.waker = Some(cx.waker().clone());
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

/// Measures silence, looking at the clock only when there is some.
pub(crate) struct Silence {
    patience: Duration,
    since: Option<Instant>,
    alarm: Alarm,
}

impl Silence {
    /// Nothing is waited for yet, and will be with this timer.
    pub(crate) fn new(patience: Duration, alarm: Alarm) -> Silence {
        Silence { patience, since: None, alarm }
    }

    /// Something came.
    pub(crate) fn broken(&mut self) {
        self.since = None;
    }

    /// Ready when nothing came for longer than the patience.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.alarm.poll(since + self.patience, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_passes_at_the_deadline_of_the_moment_whichever_way_that_moved() {
        let mut alarm = Alarm::default();
        let begun = Instant::now();
        for seconds in [10, 30, 31, 5, 7] {
            let still = Instant::now() + Duration::from_secs(60);
            let polled = poll_fn(|cx| Poll::Ready(alarm.poll(still, cx))).await;
            assert!(polled.is_pending(), "{:?} after the start", begun.elapsed());
            let deadline = Instant::now() + Duration::from_secs(seconds);
            poll_fn(|cx| alarm.poll(deadline, cx)).await;
            assert_eq!(Instant::now(), deadline, "{seconds} s");
        }
    }
}
