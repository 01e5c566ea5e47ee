//! Who waits for a connection to a node, and whether it has been cut.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;

/// The task that waits for a connection, if any: it differs from request to request, and while the connection is kept
/// there is none that should be woken. Wakers have to be shareable between threads; only the worker locks this one.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    task: Mutex<Option<Waker>>,
    /// Whether there was a wake-up that nobody has looked into yet.
    is_woken: AtomicBool,
    /// Whether nothing may come over the connection any more.
    is_cut: AtomicBool,
    /// Whether the head of a response is waited for.
    is_for_head: AtomicBool,
}

impl Waiting {
    /// Wakes this task from now on.
    pub(crate) fn set(&self, waker: &Waker) {
        match &mut *self.task() {
            Some(task) => task.clone_from(waker),
            nobody => *nobody = Some(waker.clone()),
        }
    }

    /// Wakes nobody from now on.
    pub(crate) fn set_nobody(&self) {
        self.task().take();
    }

    /// Whether there was a wake-up since the last [`Waiting::look`].
    pub(crate) fn is_woken(&self) -> bool {
        self.is_woken.load(Relaxed)
    }

    /// Looks into what there may be.
    pub(crate) fn look(&self) {
        self.is_woken.store(false, Relaxed);
    }

    /// Whether the head of a response is waited for from now on.
    pub(crate) fn set_for_head(&self, is_for_head: bool) {
        self.is_for_head.store(is_for_head, Relaxed);
    }

    /// Whether the head of a response is waited for.
    pub(crate) fn is_for_head(&self) -> bool {
        self.is_for_head.load(Relaxed)
    }

    /// Cuts the connection: whoever waits for it finds it broken. Returns whether that is news.
    pub(crate) fn cut(self: &Arc<Self>) -> bool {
        let is_news = !self.is_cut.swap(true, Relaxed);
        self.wake_by_ref();
        is_news
    }

    /// Whether it was cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Relaxed)
    }

    /// Ready once it is cut.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        self.set(cx.waker());
        if self.is_cut() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Relaxed);
        if let Some(task) = self.task().as_ref() {
            task.wake_by_ref();
        }
    }
}
