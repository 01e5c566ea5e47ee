//! How much two counters that only grow have grown lately, such as requests and failed ones.

use std::time::Duration;

/// A window over samples: its oldest part is forgotten piece by piece.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// Each where its number says, over the one of a window before.
    pieces: [Piece; PIECES],
    last: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Piece {
    number: u64,
    all: u64,
    some: u64,
}

/// Pieces of a window: it is at most a tenth shorter than it should be.
const PIECES: usize = 10;

impl Window {
    /// Takes a sample of both counters at `now`; returns how much each has grown within the last `length`. The first
    /// sample brings nothing, because nobody knows when that was.
    pub fn sample(&mut self, now: Duration, length: Duration, all: u64, some: u64) -> (u64, u64) {
        let piece_nanos = (length.as_nanos() / PIECES as u128).max(1);
        let number = u64::try_from(now.as_nanos() / piece_nanos).unwrap_or(u64::MAX);
        if let Some(last) = self.last.replace((all, some)) {
            let slot = usize::try_from(number % PIECES as u64).unwrap_or_default();
            let piece = &mut self.pieces[slot];
            if piece.number != number {
                *piece = Piece { number, ..Piece::default() };
            }
            piece.all += all.saturating_sub(last.0);
            piece.some += some.saturating_sub(last.1);
        }
        let oldest = number.saturating_sub(PIECES as u64 - 1);
        let recent = self.pieces.iter().filter(|piece| (oldest..=number).contains(&piece.number));
        recent.fold((0, 0), |sum, piece| (sum.0 + piece.all, sum.1 + piece.some))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);

    #[test]
    fn it_counts_what_the_samples_of_its_length_brought() {
        let mut window = Window::default();
        let found: Vec<_> = [(0, 100, 90), (1, 110, 91), (2, 130, 91), (11, 131, 92), (12, 131, 92), (40, 140, 95)]
            .map(|(second, all, some)| window.sample(Duration::from_secs(second), LENGTH, all, some))
            .to_vec();
        assert_eq!(found, [(0, 0), (10, 1), (30, 1), (21, 1), (1, 1), (9, 3)]);
    }
}
