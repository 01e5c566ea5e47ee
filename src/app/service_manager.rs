//! What systemd, or another that speaks sd_notify(3), hears of the life of this process. Without one nothing is said.

use sd_notify::NotifyState;
use std::time::Duration;

/// It serves; `status` is a line for people, shown by `systemctl status`.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It serves in the place of another process, so that it is the one to watch from now on.
pub(super) fn took_over() {
    let status = NotifyState::Status("serving, taken over from the process before");
    tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready, status]);
}

/// It reads its config again; [`ready`] follows. The time tells an answer to this reload from one to the one before.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "cannot read the monotonic clock"),
    }
}

/// It ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// It ends, and another process serves; that the service ends would be wrong to say.
pub(super) fn handed_over() {
    tell(&[NotifyState::Status("handed over to another process; open requests finish")]);
}

/// For how long it may be silent ([`alive`]) before it is taken for dead (`WatchdogSec`), if it is watched so.
pub(super) fn patience() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|patience| *patience > Duration::ZERO)
}

/// It is alive.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot reach the service manager at NOTIFY_SOCKET");
    }
}
