//! What the demo does when: a value that follows from how long it may last, and from nothing else.

use std::time::Duration;

/// What can be seen to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// What the owner of the hottest key serves is compared with what it owns.
    Compare,
    /// That node dies.
    Die,
    /// It comes back.
    Return,
    /// A node more is planned.
    Plan,
    /// It is added as planned.
    Apply,
    /// It is taken away again.
    RollBack,
}

/// A step, and when its time has come, counted from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cue {
    pub(super) at: Duration,
    pub(super) step: Step,
}

/// All steps, over and over: in rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Script {
    round: Duration,
    rounds: Option<u32>,
}

impl Script {
    /// Rounds of a minute without end; or as many as fill `duration` exactly, of at least a minute each unless that is
    /// shorter itself. So every step is seen, however short it is.
    pub(super) fn new(duration: Option<Duration>) -> Script {
        let Some(duration) = duration else { return Script { round: USUAL_ROUND, rounds: None } };
        let rounds = duration.as_secs() / USUAL_ROUND.as_secs();
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX).max(1);
        Script { round: duration / rounds, rounds: Some(rounds) }
    }

    /// How long a round takes.
    pub(super) fn round(self) -> Duration {
        self.round
    }

    /// When the last round is over; none when there is no last one.
    pub(super) fn end(self) -> Option<Duration> {
        self.rounds.map(|rounds| self.round * rounds)
    }

    /// All steps in order.
    pub(super) fn cues(self) -> impl Iterator<Item = Cue> {
        let sixtieth = self.round / 60;
        let rounds = 0..self.rounds.unwrap_or(u32::MAX);
        rounds.flat_map(move |round| {
            STEPS.into_iter().map(move |(at, step)| Cue { at: self.round * round + sixtieth * at, step })
        })
    }
}

const USUAL_ROUND: Duration = Duration::from_secs(60);

/// When each step comes, in sixtieths of the round.
const STEPS: [(u32, Step); 6] = [
    (5, Step::Compare),
    (10, Step::Die),
    (20, Step::Return),
    (30, Step::Plan),
    (35, Step::Apply),
    (50, Step::RollBack),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first(script: Script, count: usize) -> Vec<(u64, Step)> {
        script.cues().take(count).map(|cue| (u64::try_from(cue.at.as_millis()).unwrap(), cue.step)).collect()
    }

    #[test]
    fn the_first_minute_shows_everything_and_the_next_one_again() {
        let expected = [
            (5_000, Step::Compare),
            (10_000, Step::Die),
            (20_000, Step::Return),
            (30_000, Step::Plan),
            (35_000, Step::Apply),
            (50_000, Step::RollBack),
            (65_000, Step::Compare),
        ];
        let script = Script::new(None);
        assert_eq!((first(script, 7), script.end()), (expected.to_vec(), None));
    }

    #[test]
    fn a_short_demo_is_the_same_in_quick_motion() {
        let script = Script::new(Some(Duration::from_secs(12)));
        let expected = [
            (1_000, Step::Compare),
            (2_000, Step::Die),
            (4_000, Step::Return),
            (6_000, Step::Plan),
            (7_000, Step::Apply),
            (10_000, Step::RollBack),
        ];
        assert_eq!(first(script, 7), expected, "one round, and no more");
    }

    #[test]
    fn a_long_demo_is_made_of_whole_rounds() {
        for (seconds, rounds, round) in [(60, 1, 60), (119, 1, 119), (150, 2, 75), (3_600, 60, 60)] {
            let script = Script::new(Some(Duration::from_secs(seconds)));
            assert_eq!(script.round(), Duration::from_secs(round), "{seconds} s");
            assert_eq!(script.cues().count(), rounds * STEPS.len(), "{seconds} s");
            assert_eq!(script.end(), Some(Duration::from_secs(seconds)), "{seconds} s");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_duration_steps_come_in_order_and_before_its_end(millis in 0..=u64::MAX) {
            let duration = Duration::from_millis(millis);
            let mut last = Duration::ZERO;
            for cue in Script::new(Some(duration)).cues().take(1_000) {
                prop_assert!(last <= cue.at && cue.at <= duration, "{cue:?} after {last:?} of {duration:?}");
                last = cue.at;
            }
        }
    }
}
