//! Keeps a panic to the request, or the client, in which it happens. A panic is a bug, which one of many may have met;
//! the others go on. `metrics::panics` counts and logs it.
//!
//! What may have been left in the middle is what a worker has beside the request: its lists of clients, nodes and
//! connections. Each is changed by single calls of the standard library, and who holds a `RefCell` gives it back.

use crate::proxy::error::ProxyError;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

/// Does a part of a request; a panic is its failure.
pub(crate) fn call<T>(part: impl FnOnce() -> Result<T, ProxyError>) -> Result<T, ProxyError> {
    catch_unwind(AssertUnwindSafe(part)).unwrap_or(Err(ProxyError::Panicked))
}

/// Polls a part of a request; a panic is its failure. It must not be polled again then, as when it is ready.
pub(crate) fn poll<T>(
    part: Pin<&mut impl Future<Output = Result<T, ProxyError>>>,
    cx: &mut Context<'_>,
) -> Poll<Result<T, ProxyError>> {
    catch_unwind(AssertUnwindSafe(|| part.poll(cx))).unwrap_or(Poll::Ready(Err(ProxyError::Panicked)))
}

/// Does what must not end the loop that it is done in.
pub(crate) fn survive(step: impl FnOnce()) {
    // Counted and logged already.
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;

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

    #[test]
    fn a_loop_goes_on_after_a_step_that_panicked() {
        let mut steps = 0;
        for number in 0..3 {
            survive(|| if number == 1 { panic!("one of many") } else { steps += 1 });
        }
        assert_eq!(steps, 2);
    }
}
