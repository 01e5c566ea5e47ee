//! What the demo's backends have seen, by their own account: which of them served which key, and how much each serves.

use crate::cli::demo::KEYS;
use crate::cli::demo::NAMES;
use std::cell::Cell;
use std::cell::RefCell;

/// What all backends together have seen.
pub(super) struct Sightings {
    /// By key: the backend that saw it in the last survey.
    last: RefCell<Vec<Option<usize>>>,
    /// By backend: requests of the steady traffic.
    steady: RefCell<[u64; NAMES.len()]>,
    surveyed: Cell<u64>,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// It is one of the steady traffic.
    Traffic,
    /// It finds out where this key is served.
    Survey { key: usize },
}

impl Sightings {
    /// Nothing yet.
    pub(super) fn new() -> Sightings {
        Sightings {
            last: RefCell::new(vec![None; KEYS]),
            steady: RefCell::new([0; NAMES.len()]),
            surveyed: Cell::new(0),
        }
    }

    /// Takes note of a request. Only surveys tell where keys are: one of the traffic may have been sent before a change
    /// and arrive after it.
    pub(super) fn note(&self, backend: usize, errand: Errand) {
        match errand {
            Errand::Traffic => self.steady.borrow_mut()[backend] += 1,
            Errand::Survey { key } => {
                self.surveyed.set(self.surveyed.get() + 1);
                if let Some(last) = self.last.borrow_mut().get_mut(key) {
                    *last = Some(backend);
                }
            }
        }
    }

    /// By key: the backend that saw it last.
    pub(super) fn of_keys(&self) -> Vec<Option<usize>> {
        self.last.borrow().clone()
    }

    /// By backend: requests of the steady traffic.
    pub(super) fn steady(&self) -> [u64; NAMES.len()] {
        *self.steady.borrow()
    }

    /// All requests.
    pub(super) fn requests(&self) -> u64 {
        self.surveyed.get() + self.steady().iter().sum::<u64>()
    }
}

/// How many keys are not where they were.
pub(super) fn moved(before: &[Option<usize>], after: &[Option<usize>]) -> usize {
    before.iter().zip(after).filter(|(before, after)| before != after).count()
}

/// What part of the requests between two moments the backend got, 0 to 1; none when there were none.
pub(super) fn served(backend: usize, before: &[u64; NAMES.len()], after: &[u64; NAMES.len()]) -> Option<f64> {
    let all = after.iter().sum::<u64>() - before.iter().sum::<u64>();
    (all > 0).then(|| (after[backend] - before[backend]) as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_surveys_say_where_keys_are() {
        let sightings = Sightings::new();
        sightings.note(2, Errand::Survey { key: 7 });
        let before = sightings.of_keys();
        sightings.note(1, Errand::Traffic);
        assert_eq!((before[7], moved(&before, &sightings.of_keys())), (Some(2), 0));
        sightings.note(1, Errand::Survey { key: 7 });
        assert_eq!(moved(&before, &sightings.of_keys()), 1);
        assert_eq!(sightings.requests(), 3);
    }

    #[test]
    fn a_part_is_of_what_came_in_between() {
        assert_eq!(served(1, &[10, 20, 0, 0], &[11, 23, 0, 0]), Some(0.75));
        assert_eq!(served(1, &[10, 20, 0, 0], &[10, 20, 0, 0]), None);
    }
}
