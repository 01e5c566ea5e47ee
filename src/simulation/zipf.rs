//! Zipf's law: of the keys in the order of their popularity, number r is asked for in proportion to `r^-exponent`.

/// Draws ranks by Zipf's law. The first rank is 0.
///
/// It keeps the running sums of all parts and looks for the draw among them (inversion by a binary search), which is
/// exact; 8 bytes for each rank are little enough that none of the methods that do without the sums is needed.
#[derive(Clone, Debug)]
pub struct Zipf {
    up_to: Vec<f64>,
}

impl Zipf {
    /// So many ranks, at least one. With exponent 0 all of them are alike.
    pub fn new(exponent: f64, ranks: usize) -> Zipf {
        let mut total = 0.0;
        let sums = (1..=ranks.max(1)).map(|rank| {
            total += (rank as f64).powf(-exponent);
            total
        });
        Zipf { up_to: sums.collect() }
    }

    /// The rank at `at`, drawn evenly from 0 to 1.
    pub fn rank(&self, at: f64) -> usize {
        let at = at * self.total();
        // Rounding may carry the last one past the end.
        self.up_to.partition_point(|end| *end <= at).min(self.up_to.len() - 1)
    }

    /// The part of all draws that the first rank gets, 0 to 1.
    pub fn first(&self) -> f64 {
        self.up_to[0] / self.total()
    }

    fn total(&self) -> f64 {
        self.up_to[self.up_to.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bounds_of_a_draw_are_the_first_rank_and_the_last() {
        let zipf = Zipf::new(0.99, 10_000);
        assert_eq!((zipf.rank(0.0), zipf.rank(1.0)), (0, 9_999));
        assert_eq!(Zipf::new(1.0, 1).rank(0.7), 0);
    }

    #[test]
    fn without_an_exponent_all_ranks_are_alike() {
        let zipf = Zipf::new(0.0, 4);
        let drawn: Vec<usize> = (0..8).map(|eighth| zipf.rank(f64::from(eighth) / 8.0)).collect();
        assert_eq!(drawn, [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(zipf.first(), 0.25);
    }

    proptest! {
        /// Drawn at evenly spaced places instead of at random, a rank comes as often as its part says, but for one draw
        /// at either of its ends.
        #[test]
        fn a_rank_comes_as_often_as_the_law_says(exponent in 0.0..3.0_f64, ranks in 1..200_usize) {
            let draws = 20_000;
            let zipf = Zipf::new(exponent, ranks);
            let mut counts = vec![0_u32; ranks];
            (0..draws).for_each(|draw| counts[zipf.rank((f64::from(draw) + 0.5) / f64::from(draws))] += 1);
            let total: f64 = (1..=ranks).map(|rank| (rank as f64).powf(-exponent)).sum();
            for (rank, count) in (1..).zip(&counts) {
                let expected = f64::from(rank).powf(-exponent) / total * f64::from(draws);
                prop_assert!((f64::from(*count) - expected).abs() <= 1.0, "rank {rank}: {count}, not {expected}");
            }
            prop_assert!((zipf.first() - 1.0 / total).abs() < 1e-9);
        }
    }
}
