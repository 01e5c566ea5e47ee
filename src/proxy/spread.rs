//! How the clients are spread over the workers, and how many there may be.

use crate::metrics::pulse::Pulses;
use crate::proxy::addresses::Addresses;
use crate::proxy::addresses::Counted;
use crate::proxy::files::Files;
use crate::proxy::server::Arrival;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A client on its way from the worker that accepted it to the one that has fewer.
pub(crate) struct Newcomer {
    pub(crate) arrival: Arrival<TcpStream>,
    pub(crate) place: Place,
}

/// How many clients each worker has, and the way to hand one over.
pub(crate) struct Spread {
    pub(crate) files: Arc<Files>,
    pub(crate) addresses: Arc<Addresses>,
    open: Vec<PaddedCount>,
    senders: Vec<mpsc::Sender<Newcomer>>,
    /// When it was last said that no client can be accepted.
    complained: Mutex<Option<Instant>>,
}

#[repr(align(128))]
#[derive(Default)]
struct PaddedCount(AtomicUsize);

/// How often, over all workers, the log says that no client can be accepted.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

impl Spread {
    /// No clients yet; each worker has a sender.
    pub(crate) fn new(senders: Vec<mpsc::Sender<Newcomer>>, files: Arc<Files>) -> Spread {
        let open = senders.iter().map(|_| PaddedCount::default()).collect();
        Spread { files, addresses: Addresses::new(), open, senders, complained: Mutex::default() }
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        self.open.len()
    }

    /// How many clients a worker has.
    pub(crate) fn open(&self, worker: usize) -> usize {
        self.open[worker].0.load(Relaxed)
    }

    /// The place at a worker of a client that [`Files::try_admit`] has admitted, and that may count for its address.
    pub(crate) fn place(self: &Arc<Self>, worker: usize, counted: Option<Counted>) -> Place {
        self.open[worker].0.fetch_add(1, Relaxed);
        Place { spread: Arc::clone(self), worker, _counted: counted }
    }

    /// Who should take a connection that `worker` accepted: itself, unless another has fewer that is not stuck.
    pub(crate) fn taker(&self, worker: usize, pulses: &Pulses) -> usize {
        let others = (0..self.open.len()).filter(|id| self.open(*id) < self.open(worker));
        others.filter(|id| !pulses.is_stuck(*id)).min_by_key(|id| self.open(*id)).unwrap_or(worker)
    }

    /// The way to hand a client over, unless the worker is too busy for it.
    pub(crate) fn way_to(&self, worker: usize) -> Option<mpsc::Permit<'_, Newcomer>> {
        self.senders[worker].try_reserve().ok()
    }

    /// Whether it is time to say again that no client can be accepted.
    pub(crate) fn may_complain(&self, now: Instant) -> bool {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        let may = complained.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAIN_EVERY);
        if may {
            *complained = Some(now);
        }
        may
    }
}

/// A client's place at a worker, counted before it is handed over, so that the next one goes elsewhere.
pub(crate) struct Place {
    spread: Arc<Spread>,
    worker: usize,
    _counted: Option<Counted>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.spread.open[self.worker].0.fetch_sub(1, Relaxed);
        self.spread.files.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::pulse::STUCK_AFTER;

    #[test]
    fn a_worker_hands_a_connection_over_only_to_one_that_has_fewer() {
        let (spread, pulses) = (spread_over(3), Pulses::new(3));
        assert_eq!(spread.taker(1, &pulses), 1, "all are equally empty");
        let _places = [1, 1, 0].map(|worker| {
            assert!(spread.files.try_admit(3));
            spread.place(worker, None)
        });
        assert_eq!(spread.taker(1, &pulses), 2, "worker 2 has none");
        assert_eq!(spread.taker(2, &pulses), 2, "and keeps what it accepts");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_stuck_is_handed_nothing() {
        let (spread, pulses) = (spread_over(3), Pulses::new(3));
        let _places = [1, 1, 2].map(|worker| {
            assert!(spread.files.try_admit(3));
            spread.place(worker, None)
        });
        pulses.beat(0);
        assert_eq!(spread.taker(1, &pulses), 0);
        tokio::time::advance(STUCK_AFTER).await;
        assert_eq!(spread.taker(1, &pulses), 2, "{pulses:?}");
    }

    #[test]
    fn a_place_is_free_again_when_its_client_has_gone() {
        let spread = spread_over(2);
        let address = "192.0.2.1".parse().unwrap();
        assert!(spread.files.try_admit(1));
        let place = spread.place(1, spread.addresses.try_count(address, 1));
        assert!(!spread.files.try_admit(1) && spread.addresses.try_count(address, 1).is_none());
        drop(place);
        assert!(spread.files.try_admit(1) && spread.addresses.try_count(address, 1).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn all_workers_complain_once_a_second() {
        let spread = spread_over(2);
        let begun = Instant::now();
        for (millis, may) in [(0, true), (20, false), (999, false), (1000, true), (1999, false)] {
            assert_eq!(spread.may_complain(begun + Duration::from_millis(millis)), may, "after {millis} ms");
        }
    }

    fn spread_over(workers: usize) -> Arc<Spread> {
        let senders = (0..workers).map(|_| mpsc::channel(1).0).collect();
        Arc::new(Spread::new(senders, Files::of_process(workers)))
    }
}
