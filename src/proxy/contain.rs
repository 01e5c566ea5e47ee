//! Keeps a panic to the request, or the client, in which it happens. A panic is a bug, which one of many may have met;
//! the others go on. `metrics::panics` counts and logs it.
//!
//! What may have been left in the middle is what a worker has beside the request: its lists of clients, nodes and
//! connections. Each is changed by single calls of the standard library, and who holds a `RefCell` gives it back.

use crate::proxy::error::ProxyError;
use std::future::Future;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;

/// Does a part of a request; a panic is its failure.
pub(crate) fn call<T>(part: impl FnOnce() -> Result<T, ProxyError>) -> Result<T, ProxyError> {
    let mut done = Err(ProxyError::Panicked);
    // What is returned through the catch would be moved three times on its way, which is noticed in every request.
    survive(|| done = part());
    done
}

/// Polls a part of a request; a panic is its failure. It must not be polled again then, as when it is ready.
pub(crate) fn poll<T>(
    part: Pin<&mut impl Future<Output = Result<T, ProxyError>>>,
    cx: &mut Context<'_>,
) -> Poll<Result<T, ProxyError>> {
    let mut polled = Poll::Ready(Err(ProxyError::Panicked));
    survive(|| polled = part.poll(cx));
    polled
}

/// Does a task, and after each panic in it does it anew, until it ends.
pub(crate) async fn again<F: Future<Output = ()>>(begin: impl Fn() -> F) {
    loop {
        let mut task = pin!(begin());
        let is_over = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
            Ok(polled) => polled.map(|()| true),
            // Counted and logged already.
            Err(_) => Poll::Ready(false),
        });
        if is_over.await {
            return;
        }
    }
}

/// Does what must not end the loop that it is done in.
pub(crate) fn survive(step: impl FnOnce()) {
    // Counted and logged already.
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_panic_is_the_failure_of_the_request_it_happens_in() {
        assert_eq!(call(|| Ok(7)), Ok(7));
        assert_eq!(call(|| Err::<(), _>(ProxyError::NoPool)), Err(ProxyError::NoPool));
        assert_eq!(call::<()>(|| panic!("met by one request")), Err(ProxyError::Panicked));
    }

    #[tokio::test]
    async fn a_panic_after_waiting_is_too() {
        let mut part = pin!(async {
            tokio::task::yield_now().await;
            if true { panic!("met by one request") } else { Ok(()) }
        });
        assert_eq!(poll_fn(|cx| poll(part.as_mut(), cx)).await, Err(ProxyError::Panicked));
    }

    #[tokio::test]
    async fn a_task_begins_anew_after_each_panic_until_it_ends() {
        let begun = Cell::new(0);
        let task = async || {
            begun.set(begun.get() + 1);
            tokio::task::yield_now().await;
            assert!(begun.get() > 2, "met twice");
        };
        again(task).await;
        assert_eq!(begun.get(), 3);
    }

    #[test]
    fn a_loop_goes_on_after_a_step_that_panicked() {
        let mut steps = 0;
        for number in 0..3 {
            survive(|| if number == 1 { panic!("one of many") } else { steps += 1 });
        }
        assert_eq!(steps, 2);
    }
}
