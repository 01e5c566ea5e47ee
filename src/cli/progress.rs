//! How far long work has come, on standard error: one line that is written over, and only on a terminal.

use std::io;
use std::io::IsTerminal;
use std::io::Write;

/// What goes away when it is dropped.
pub(super) struct Progress {
    total: usize,
    done: usize,
    /// How wide the line is that stands there.
    shown: usize,
    is_shown: bool,
}

impl Progress {
    /// At the beginning of so many units; 0 where nobody knows how many.
    pub(super) fn new(total: usize) -> Progress {
        Progress { total, done: 0, shown: 0, is_shown: io::stderr().is_terminal() }
    }

    /// Shows what is done next, which is so many units.
    pub(super) fn step(&mut self, units: usize, what: &str) {
        if self.is_shown {
            self.show(&line(self.done, self.total, what));
        }
        self.done += units;
    }

    /// Shows how far it is, in words.
    pub(super) fn show(&mut self, line: &str) {
        if self.is_shown {
            self.write_over(line);
        }
    }

    /// A line that stays, for programs and people alike.
    pub(super) fn say(&mut self, message: &str) {
        self.clear();
        eprintln!("{message}");
    }

    fn clear(&mut self) {
        if self.shown > 0 {
            self.write_over("");
            eprint!("\r");
        }
    }

    /// Without colours and escape sequences, which not every terminal wants.
    fn write_over(&mut self, line: &str) {
        let mut stderr = io::stderr().lock();
        let width = self.shown;
        // Progress is a courtesy: a terminal that cannot be written to does not end the work.
        drop(write!(stderr, "\r{line:<width$}").and_then(|()| stderr.flush()));
        self.shown = line.chars().count();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `[#######.............]  36 %  ring at 100 nodes`
fn line(done: usize, total: usize, what: &str) -> String {
    let total = total.max(1);
    let filled = done * BAR_WIDTH / total;
    let bar: String = (0..BAR_WIDTH).map(|place| if place < filled { '#' } else { '.' }).collect();
    format!("[{bar}] {:>3} %  {what}", done * 100 / total)
}

const BAR_WIDTH: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_up() {
        assert_eq!(line(0, 3, "ring"), "[..............................]   0 %  ring");
        assert_eq!(line(1, 3, "ring"), "[##########....................]  33 %  ring");
        assert_eq!(line(3, 3, "ring"), "[##############################] 100 %  ring");
    }
}
