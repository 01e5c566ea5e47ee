//! A node dies and returns, and nobody notices but its keys' next candidates.

use crate::cli::demo::NAMES;
use crate::cli::demo::stage::Stage;
use crate::cli::demo::stage::hottest_key;
use crate::cli::demo::stage::millis;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use std::time::Duration;

/// From the death of a backend until its node is used again.
pub(super) struct Outage {
    backend: usize,
    state: State,
    /// Requests that had failed over and failed before it.
    before: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is dead, and nobody has noticed yet.
    Unnoticed,
    /// Requests pass it over.
    Out,
}

impl Stage {
    /// The owner of the hottest key dies, where another backend of the demo can help out.
    pub(super) fn die(&mut self, out: &mut Output) -> Result<(), Failure> {
        let pool = self.pool()?;
        let (key, candidates) = hottest_key(&pool);
        let Some((backend, next)) = victim(&candidates) else { return Ok(()) };
        self.traffic.tally.slowest.set(Duration::ZERO);
        self.outage = Some(Outage { backend, state: State::Unnoticed, before: self.lost() });
        self.backends[backend].die();
        self.say(out, format_args!("{} dies with all its connections; {key} is next at {next}", NAMES[backend]))
    }

    /// It comes back, once it is known to have been away.
    pub(super) async fn revive(&mut self, out: &mut Output) -> Result<(), Failure> {
        let Some(backend) = self.outage.as_ref().map(|outage| outage.backend) else { return Ok(()) };
        let is_noticed = |stage: &Stage| {
            stage.is_taken_over() || stage.outage.as_ref().is_none_or(|outage| outage.state == State::Out)
        };
        self.wait_until(is_noticed, "a dead node is not found to be ill", out).await?;
        let revived = self.backends[backend].revive();
        revived.map_err(|error| Failure::Failed(format!("cannot start a backend again: {error}")))?;
        self.say(out, format_args!("{} is back", NAMES[backend]))
    }

    /// Waits until all nodes are used.
    pub(super) async fn recover(&mut self, out: &mut Output) -> Result<(), Failure> {
        let is_over = |stage: &Stage| stage.is_taken_over() || stage.outage.is_none();
        self.wait_until(is_over, "a node that is back is not used again", out).await
    }

    /// A node is ill.
    pub(super) fn tell_down(&mut self, node: &str, cause: &str, out: &mut Output) -> Result<(), Failure> {
        self.say(out, format_args!("{node} is ill: {cause}"))?;
        if let Some(outage) = self.outage.as_mut().filter(|outage| NAMES[outage.backend] == node) {
            outage.state = State::Out;
        }
        self.add(out, "each of its keys goes to its own next candidate; the others stay where they are")
    }

    /// A node is well again.
    pub(super) fn tell_up(&mut self, node: &str, cause: &str, out: &mut Output) -> Result<(), Failure> {
        self.say(out, format_args!("{node} is used again: {cause}; its keys are back"))?;
        let Some(outage) = self.outage.take_if(|outage| NAMES[outage.backend] == node) else { return Ok(()) };
        let (lost, slowest) = (self.lost(), self.traffic.tally.slowest.get());
        let (failovers, failed) = (lost.0 - outage.before.0, lost.1 - outage.before.1);
        self.sums.failovers += failovers;
        self.sums.slowest = self.sums.slowest.max(slowest);
        self.add(
            out,
            format_args!(
                "meanwhile {failovers} requests went to the next candidate; {failed} failed; the slowest took {}",
                millis(slowest)
            ),
        )
    }

    /// Requests so far that failed over, and that failed.
    fn lost(&self) -> (u64, u64) {
        (self.traffic.tally.failovers.get(), self.traffic.tally.failed.get())
    }
}

/// The first of the candidates that is a backend of the demo, and the one after it; none without both.
fn victim(candidates: &[String]) -> Option<(usize, &'static str)> {
    let mut own = candidates.iter().filter_map(|candidate| NAMES.iter().position(|name| name == candidate));
    Some((own.next()?, NAMES[own.next()?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_only_dies_where_another_one_helps_out() {
        let candidates = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(victim(&candidates(&["c", "a", "b"])), Some((2, "a")));
        assert_eq!(victim(&candidates(&["x", "b", "y", "d"])), Some((1, "d")), "others' nodes are not ours to end");
        assert_eq!(victim(&candidates(&["x", "b"])), None);
        assert_eq!(victim(&[]), None);
    }
}
