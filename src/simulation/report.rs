//! The trials of all seeds, summed up.

use crate::simulation::ChangeKind;
use crate::simulation::Contender;
use crate::simulation::Trial;
use crate::simulation::measure::Movement;
use crate::simulation::measure::NodeLoad;
use serde::Serialize;

/// What all seeds came to for one placement over one pool of nodes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The placement, as people write it.
    pub placement: String,
    /// See [`crate::simulation::Balance::peak`].
    pub peak_to_average: Summary,
    /// See [`crate::simulation::Balance::least`].
    pub least_to_average: Summary,
    /// See [`crate::simulation::Balance::cv`].
    pub cv: Summary,
    /// See [`Trial::failover_spread`].
    pub failover_spread: Summary,
    /// See [`Trial::reversibility`].
    pub reversibility: Summary,
    /// See [`Trial::agreement`].
    pub agreement: Summary,
    /// What each change moves.
    pub changes: Vec<ChangeReport>,
    /// The load of each node at the first seed.
    pub nodes: Vec<NodeLoad>,
}

/// What one change moves, over all seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChangeReport {
    /// What happens to the nodes.
    pub change: ChangeKind,
    /// See [`Movement::moved`].
    pub moved: Summary,
    /// See [`Movement::optimum`].
    pub optimum: Summary,
    /// See [`Movement::ratio`].
    pub movement_ratio: Summary,
    /// See [`Movement::excess`].
    pub structural_excess: Summary,
    /// See [`Movement::collateral`].
    pub collateral: Summary,
    /// See [`Movement::collateral_ratio`].
    pub collateral_ratio: Summary,
}

/// One figure over all seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The mean.
    pub mean: f64,
    /// What 95 % of the seeds do not exceed, or do not fall below where less is worse.
    pub p95: f64,
    /// The worst of all seeds.
    pub worst: f64,
}

/// Which end of a figure is the bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worse {
    Less,
    More,
}

impl Report {
    /// Of at least one trial, all of the same simulation.
    pub fn of(contender: Contender, trials: &[Trial]) -> Report {
        let all = |worse: Worse, figure: fn(&Trial) -> f64| Summary::of(worse, trials.iter().map(figure));
        let changes = trials[0].movements.iter().enumerate();
        Report {
            placement: contender.to_string(),
            peak_to_average: all(Worse::More, |trial| trial.balance.peak),
            least_to_average: all(Worse::Less, |trial| trial.balance.least),
            cv: all(Worse::More, |trial| trial.balance.cv),
            failover_spread: all(Worse::More, |trial| trial.failover_spread),
            reversibility: all(Worse::Less, |trial| trial.reversibility),
            agreement: all(Worse::Less, |trial| trial.agreement),
            changes: changes.map(|(place, (change, _))| ChangeReport::of(*change, place, trials)).collect(),
            nodes: trials[0].nodes.clone(),
        }
    }
}

impl ChangeReport {
    fn of(change: ChangeKind, place: usize, trials: &[Trial]) -> ChangeReport {
        let all = |figure: fn(&Movement) -> f64| {
            Summary::of(Worse::More, trials.iter().map(|trial| figure(&trial.movements[place].1)))
        };
        ChangeReport {
            change,
            moved: all(|movement| movement.moved),
            optimum: all(|movement| movement.optimum),
            movement_ratio: all(Movement::ratio),
            structural_excess: all(|movement| movement.excess),
            collateral: all(|movement| movement.collateral),
            collateral_ratio: all(Movement::collateral_ratio),
        }
    }
}

impl Summary {
    /// Of at least one value. The percentile is the smallest value that so many do not exceed.
    fn of(worse: Worse, values: impl Iterator<Item = f64>) -> Summary {
        let mut values: Vec<f64> = values.collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.sort_by(f64::total_cmp);
        if worse == Worse::Less {
            values.reverse();
        }
        Summary { mean, p95: values[(values.len() * 95).div_ceil(100) - 1], worst: values[values.len() - 1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_the_largest_unless_less_is_worse() {
        let values = || (1..=20).map(f64::from);
        assert_eq!(Summary::of(Worse::More, values()), Summary { mean: 10.5, p95: 19.0, worst: 20.0 });
        assert_eq!(Summary::of(Worse::Less, values()), Summary { mean: 10.5, p95: 2.0, worst: 1.0 });
        assert_eq!(Summary::of(Worse::Less, [3.0].into_iter()), Summary { mean: 3.0, p95: 3.0, worst: 3.0 });
    }
}
