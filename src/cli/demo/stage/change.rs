//! A node is added by plan and taken away again, and what that moves is counted.

use crate::cli::change_words;
use crate::cli::demo::KEYS;
use crate::cli::demo::NAMES;
use crate::cli::demo::POOL;
use crate::cli::demo::sightings;
use crate::cli::demo::stage::ACTOR;
use crate::cli::demo::stage::Stage;
use crate::cli::demo::traffic;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::output::percent;
use crate::cluster::membership::Change;
use crate::control::pool_at::Plan;
use crate::control::pool_at::PoolAt;
use crate::control::settings::parse_node_argument;
use crate::control::write::Guard;
use crate::control::write::Write;
use crate::control::write::WriteAction;
use crate::control::write::WriteError;

/// Sampling noise of 10,000 keys stays below this (four standard deviations at a quarter of the keys).
const NOISE_MAX: f64 = 0.02;

/// A change that is planned, or made as planned.
pub(super) struct Planned {
    change: Change,
    plan: Plan,
    /// By key: the backend before the change.
    before: Vec<Option<usize>>,
}

impl Stage {
    /// Says what adding the last backend would move, and finds out where all keys are.
    pub(super) async fn plan(&mut self, out: &mut Output) -> Result<(), Failure> {
        self.recover(out).await?;
        if self.is_taken_over() {
            return Ok(());
        }
        let node = parse_node_argument(&self.backends[NAMES.len() - 1].node).map_err(Failure::Failed)?;
        let change = Change::Add(node);
        let pool = self.pool()?;
        let plan = PoolAt::of(&pool).plan(std::slice::from_ref(&change))?;
        self.say(out, format_args!("plan {}", change_words::print(std::slice::from_ref(&change))))?;
        let (moved, optimum) = (percent(plan.moved_ratio), percent(plan.optimal_ratio));
        let collateral = percent(plan.collateral_ratio);
        self.add(
            out,
            format_args!("moves {moved} of the keys; optimum {optimum}; between unchanged nodes {collateral}"),
        )?;
        self.traffic.survey().await;
        self.planned = Some(Planned { change, plan, before: self.sightings.of_keys() });
        Ok(())
    }

    /// Makes exactly the change that was planned, sends every key once more and compares.
    pub(super) async fn apply(&mut self, out: &mut Output) -> Result<(), Failure> {
        let Some(planned) = self.planned.take() else { return Ok(()) };
        let change = WriteAction::Changes(vec![planned.change.clone()]);
        if !self.write_and_survey(change, "shown by ringway demo", out).await? {
            return Ok(());
        }
        let (moved, astray) = (sightings::moved(&planned.before, &self.sightings.of_keys()), self.astray()?);
        let (ratio, said) = (moved as f64 / KEYS as f64, planned.plan.moved_ratio);
        let optimum = percent(planned.plan.optimal_ratio);
        let counted = format!("{moved} of {KEYS} keys moved ({}); optimum {optimum}", percent(ratio));
        self.say(out, format_args!("applied, epoch {}: {counted}", self.epoch))?;
        self.add(out, format_args!("as the backends saw it; {astray} keys astray"))?;
        self.sums.moved = Some(counted);
        self.planned = Some(planned);
        match astray {
            0 if (ratio - said).abs() <= NOISE_MAX => Ok(()),
            0 => Err(Failure::Failed(format!("the plan said {said}, but {ratio} moved"))),
            _ => Err(Failure::Failed(format!("{astray} keys were served by another node than their owner"))),
        }
    }

    /// Goes back to before the change; every key has to be where it was.
    pub(super) async fn roll_back(&mut self, out: &mut Output) -> Result<(), Failure> {
        let Some(Planned { plan, before, .. }) = self.planned.take() else { return Ok(()) };
        let rollback = WriteAction::Rollback { to_epoch: plan.epoch };
        if !self.write_and_survey(rollback, "so that ringway demo can show it again", out).await? {
            return Ok(());
        }
        let displaced = sightings::moved(&before, &self.sightings.of_keys());
        let places = match displaced {
            0 => format!("all {KEYS} keys are where they were"),
            _ => format!("{displaced} keys are not where they were"),
        };
        self.say(out, format_args!("rolled back to epoch {}, as epoch {}: {places}", plan.epoch, self.epoch))?;
        match displaced {
            0 => Ok(()),
            _ => Err(Failure::Failed(places)),
        }
    }

    /// Makes a change and finds out where all keys are then. Does not where somebody else changes the pool: says
    /// whether it did.
    async fn write_and_survey(&mut self, action: WriteAction, reason: &str, out: &mut Output) -> Result<bool, Failure> {
        let write = Write {
            pool: POOL.to_owned(),
            action,
            guard: Some(Guard { epoch: self.epoch, fingerprint: None }),
            force: false,
            actor: ACTOR.to_owned(),
            reason: Some(reason.to_owned()),
        };
        match self.controller.write(write).await {
            Ok(written) => self.epoch = written.epoch,
            Err(WriteError::Stale { epoch, .. }) => {
                self.say(out, format_args!("the pool is at epoch {epoch} already: what was planned is not done"))?;
                return Ok(false);
            }
            Err(error) => return Err(Failure::Failed(error.to_string())),
        }
        self.traffic.survey().await;
        Ok(!self.is_taken_over())
    }

    /// How many keys were not served by their owner.
    fn astray(&self) -> Result<usize, Failure> {
        let pool = self.pool()?;
        let pool = PoolAt::of(&pool);
        let is_astray = |(key, seen): (usize, Option<usize>)| {
            let owner = pool.locate(traffic::name(key).as_bytes()).owner;
            owner.as_deref() != seen.map(|number| NAMES[number])
        };
        Ok(self.sightings.of_keys().into_iter().enumerate().filter(|seen| is_astray(*seen)).count())
    }
}
