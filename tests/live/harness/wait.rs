//! Waiting for a condition, under a deadline that only a broken program meets.

use std::fmt::Debug;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let answer = poll(&mut ask, Option::is_some);
    answer.ok().flatten().unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain until {what}"))
}

/// Asks until the answer is yes.
pub(crate) fn until_true(what: &str, mut ask: impl FnMut() -> bool) {
    assert!(poll(&mut ask, |yes| *yes).is_ok(), "waited {PATIENCE:?} in vain until {what}");
}

/// Asks until the answer is as it should be, and shows the last one when it never is.
pub(crate) fn until_holds<T: Debug>(what: &str, mut ask: impl FnMut() -> T, holds: impl Fn(&T) -> bool) {
    let answer = poll(&mut ask, holds);
    assert!(answer.is_ok(), "waited {PATIENCE:?} in vain until {what}; at last there was {:?}", answer.err());
}

/// The first answer that holds, else the last one before patience ends.
pub(crate) fn poll<T>(ask: &mut impl FnMut() -> T, holds: impl Fn(&T) -> bool) -> Result<T, T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if holds(&answer) {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            return Err(answer);
        }
        thread::sleep(ASK_EVERY);
    }
}

const ASK_EVERY: Duration = Duration::from_millis(5);
