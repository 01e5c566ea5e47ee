//! The running demo: takes the steps of the script, and tells what comes of them.

mod change;
mod outage;

use crate::cli::demo::NAMES;
use crate::cli::demo::POOL;
use crate::cli::demo::backends::Backend;
use crate::cli::demo::script::Script;
use crate::cli::demo::script::Step;
use crate::cli::demo::sightings;
use crate::cli::demo::sightings::Sightings;
use crate::cli::demo::stage::change::Planned;
use crate::cli::demo::stage::outage::Outage;
use crate::cli::demo::traffic;
use crate::cli::demo::traffic::Traffic;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::output::percent;
use crate::control::Controller;
use crate::control::news::News;
use crate::control::pool_at::PoolAt;
use crate::proxy::table::PoolTable;
use std::fmt::Display;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::Instant;

/// Who makes the demo's changes, in the history.
const ACTOR: &str = "demo";

/// The hottest key.
const HOTTEST: usize = 0;

/// How long a node may take to be found dead or well.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that plays a part, and what has come of it.
pub(super) struct Stage {
    controller: Controller,
    news: broadcast::Receiver<Arc<News>>,
    backends: Vec<Backend>,
    sightings: Rc<Sightings>,
    traffic: Traffic,
    begun: Instant,
    /// The requests of the steady traffic, by backend, when the last step was taken.
    steady: [u64; NAMES.len()],
    /// Where the demo's own changes have led to; the pool is elsewhere once somebody else has changed it.
    epoch: u64,
    outage: Option<Outage>,
    planned: Option<Planned>,
    sums: Sums,
}

/// What all rounds have come to.
#[derive(Default)]
struct Sums {
    failovers: u64,
    slowest: Duration,
    /// What the last change has moved.
    moved: Option<String>,
}

impl Stage {
    /// The traffic begins.
    pub(super) fn new(
        controller: Controller,
        proxy: SocketAddr,
        backends: Vec<Backend>,
        sightings: Rc<Sightings>,
    ) -> Stage {
        let news = controller.listen();
        let epoch = controller.pool(POOL).map(|pool| pool.epoch).unwrap_or_default();
        Stage {
            controller,
            news,
            backends,
            sightings,
            traffic: Traffic::start(proxy),
            begun: Instant::now(),
            steady: [0; NAMES.len()],
            epoch,
            outage: None,
            planned: None,
            sums: Sums::default(),
        }
    }

    /// Takes all steps, each when its time has come and the one before it is seen to have worked; then waits for
    /// the end, which may never come.
    ///
    /// # Errors
    /// When something does not work as it should.
    pub(super) async fn play(&mut self, script: Script, out: &mut Output) -> Result<(), Failure> {
        let round = Duration::from_secs(script.round().as_secs().max(1));
        let round = humantime::format_duration(round);
        self.say(out, format_args!("traffic flows; a node dies, then one is added by plan, all within {round}"))?;
        for cue in script.cues() {
            self.wait(Some(cue.at), out).await?;
            let steady = self.sightings.steady();
            match cue.step {
                Step::Compare => self.compare(&steady, out)?,
                Step::Die => self.die(out)?,
                Step::Return => self.revive(out).await?,
                Step::Plan => self.plan(out).await?,
                Step::Apply => self.apply(out).await?,
                Step::RollBack => self.roll_back(out).await?,
            }
            self.steady = steady;
        }
        self.wait(script.end(), out).await
    }

    /// Ends the traffic and says what everything has come to.
    ///
    /// # Errors
    /// When a request has failed.
    pub(super) async fn sum_up(&mut self, out: &mut Output) -> Result<(), Failure> {
        self.traffic.stop().await;
        let (answered, failed) = (self.traffic.tally.answered.get(), self.traffic.tally.failed.get());
        out.line("")?;
        out.bold(format_args!(
            "{answered} requests answered, {failed} failed; the backends received {}",
            self.sightings.requests()
        ))?;
        if let Some(moved) = &self.sums.moved {
            out.line(format_args!("  the change    {moved}"))?;
        }
        let Sums { failovers, slowest, .. } = &self.sums;
        if *failovers > 0 {
            out.line(format_args!(
                "  the failover  {failovers} requests answered by the next candidate, the slowest in {}",
                millis(*slowest)
            ))?;
        }
        match failed {
            0 => Ok(()),
            _ => Err(Failure::Failed(format!("{failed} requests failed"))),
        }
    }

    /// Tells what happens until `at`, counted from the beginning; without it, for ever.
    async fn wait(&mut self, at: Option<Duration>, out: &mut Output) -> Result<(), Failure> {
        loop {
            let left = at.map_or(Duration::MAX, |at| at.saturating_sub(self.begun.elapsed()));
            tokio::select! {
                () = tokio::time::sleep(left) => return Ok(()),
                news = self.news.recv() => news.map_or(Ok(()), |news| self.tell(&news, out))?,
            }
        }
    }

    /// Tells what happens until something is `reached`; the error says that `what` is missing.
    async fn wait_until(
        &mut self,
        reached: impl Fn(&Stage) -> bool,
        what: &str,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while !reached(self) {
            match tokio::time::timeout_at(deadline, self.news.recv()).await {
                Ok(news) => news.map_or(Ok(()), |news| self.tell(&news, out))?,
                Err(_) => return Err(Failure::Failed(format!("{what} within {} s", PATIENCE.as_secs()))),
            }
        }
        Ok(())
    }

    /// Tells of what the demo has not done itself, or has brought about only.
    fn tell(&mut self, news: &News, out: &mut Output) -> Result<(), Failure> {
        match news {
            News::NodeDown { node, cause, .. } => self.tell_down(node, cause, out),
            News::NodeUp { node, cause, .. } => self.tell_up(node, cause, out),
            News::Membership(event) if event.actor != ACTOR => self.say(
                out,
                format_args!(
                    "epoch {}, by {}: the nodes are yours; no more changes from here",
                    event.epoch, event.actor
                ),
            ),
            News::Membership(_) | News::Missed { .. } | News::Panic { .. } => Ok(()),
        }
    }

    /// Whether somebody else has changed the pool.
    fn is_taken_over(&self) -> bool {
        self.controller.pool(POOL).is_none_or(|pool| pool.epoch != self.epoch)
    }

    fn compare(&self, steady: &[u64; NAMES.len()], out: &mut Output) -> Result<(), Failure> {
        let pool = self.pool()?;
        let (key, candidates) = hottest_key(&pool);
        let Some(owner) = candidates.first() else { return Ok(()) };
        let Some(number) = NAMES.iter().position(|name| name == owner) else { return Ok(()) };
        let Some(served) = sightings::served(number, &self.steady, steady) else { return Ok(()) };
        let owns = pool.shares().get(owner.as_str()).copied().unwrap_or_default();
        let keyed = 1.0 - 1.0 / f64::from(traffic::KEYLESS_ONE_IN);
        self.say(
            out,
            format_args!("{key} is hot: {} of the requests are for it", percent(traffic::hottest() * keyed)),
        )?;
        self.add(
            out,
            format_args!("so its owner {owner} serves {}, and owns {} of the keys", percent(served), percent(owns)),
        )
    }

    fn pool(&self) -> Result<Arc<PoolTable>, Failure> {
        self.controller.pool(POOL).ok_or_else(|| Failure::Failed(format!("there is no pool {POOL}")))
    }

    /// A line with the time since the beginning.
    fn say(&self, out: &mut Output, text: impl Display) -> Result<(), Failure> {
        out.bold(format_args!("{}  {text}", stamp(self.begun.elapsed())))?;
        out.flush()
    }

    /// A line more about the same.
    fn add(&self, out: &mut Output, text: impl Display) -> Result<(), Failure> {
        out.line(format_args!("       {text}"))?;
        out.flush()
    }
}

/// The hottest key, and the nodes that it would go to in this order.
fn hottest_key(pool: &PoolTable) -> (String, Vec<String>) {
    let key = traffic::name(HOTTEST);
    let candidates = PoolAt::of(pool).locate(key.as_bytes()).candidates;
    (key, candidates)
}

/// Minutes and seconds.
fn stamp(time: Duration) -> String {
    format!("{:>2}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_micros().div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_minutes_and_seconds() {
        for (millis, shown) in [(0, " 0:00"), (9_999, " 0:09"), (61_000, " 1:01"), (6_000_000, "100:00")] {
            assert_eq!(stamp(Duration::from_millis(millis)), shown, "{millis} ms");
        }
        assert_eq!(millis(Duration::from_micros(1_001)), "2 ms");
    }
}
