//! What came of all rows, class by class.

use crate::suite::finding::Grade;
use crate::suite::row::Row;
use crate::suite::run::Outcome;

/// How many rows of a class went how well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) clean: usize,
    pub(crate) lenient: usize,
    pub(crate) hard: usize,
}

impl Tally {
    fn add(&mut self, grade: Grade) {
        match grade {
            Grade::Clean => self.clean += 1,
            Grade::Lenient => self.lenient += 1,
            Grade::Hard => self.hard += 1,
        }
    }
}

/// The tallies of the classes, in the order of the table, and that of all.
pub(crate) fn tallies(went: &[(Row, Outcome)]) -> (Vec<(&'static str, Tally)>, Tally) {
    let (mut classes, mut all) = (Vec::<(&'static str, Tally)>::new(), Tally::default());
    for (row, outcome) in went {
        all.add(outcome.grade());
        match classes.iter_mut().find(|class| class.0 == row.class) {
            Some(class) => class.1.add(outcome.grade()),
            None => {
                let mut tally = Tally::default();
                tally.add(outcome.grade());
                classes.push((row.class, tally));
            }
        }
    }
    (classes, all)
}
