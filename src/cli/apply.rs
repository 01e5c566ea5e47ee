//! `ringway apply`: makes changes on the running proxy, several as one.

use crate::admin::model::Applied;
use crate::admin::model::ApplyRequest;
use crate::admin::model::PoolSummary;
use crate::cli::change_words;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::output::percent;
use crate::cli::target::LivePoolArgs;
use crate::cluster::membership::Change;
use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

/// Make changes, several as one
///
/// All of them are made in one step, or none; the answer comes when they are on the disk and served.
/// Exit code 3 when the pool has changed since --if-epoch, 4 when the change is unsafe and not forced: taking out the
/// last node or more than half of the weight at once, or a placement switch that moves more than half of the keys.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway plan add c=10.0.0.12:3000            ends with the line to run:
  ringway apply --if-epoch 7 add c=10.0.0.12:3000
  ringway apply --reason 'disk replaced' undrain b weight b=2")]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// Changes in plain words, such as: add c=10.0.0.12:3000 drain a
    #[arg(value_name = "CHANGE", long_help = change_words::HELP, required = true)]
    changes: Vec<String>,
}

/// What every write takes.
#[derive(Debug, Args)]
pub(super) struct WriteArgs {
    #[command(flatten)]
    pub(super) live: LivePoolArgs,
    /// Refuse, with exit code 3, unless the pool is at this epoch
    #[arg(long, value_name = "N")]
    pub(super) if_epoch: Option<u64>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Do it although it is unsafe
    #[arg(long)]
    pub(super) force: bool,
    /// One JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Makes changes in words.
pub(super) fn run(args: &ApplyArgs, out: &mut Output) -> Result<(), Failure> {
    let changes = change_words::parse(&args.changes).map_err(Failure::Usage)?;
    args.write.apply(changes, out).map(drop)
}

impl WriteArgs {
    /// Makes the changes, says what they did, and returns whom it asked for which pool.
    pub(super) fn apply(&self, changes: Vec<Change>, out: &mut Output) -> Result<(Client, PoolSummary), Failure> {
        let (client, pool) = self.live.open()?;
        let request = ApplyRequest { if_epoch: self.if_epoch, changes, reason: self.reason.clone(), force: self.force };
        self.write(&client, &pool, ("apply", &request), out)?;
        Ok((client, pool))
    }

    /// Posts a write to the pool and says what it did.
    pub(super) fn write(
        &self,
        client: &Client,
        pool: &PoolSummary,
        (verb, request): (&str, &impl Serialize),
        out: &mut Output,
    ) -> Result<(), Failure> {
        let answer: Box<RawValue> = client.post(&format!("/v1/pools/{}/{verb}", pool.pool), request)?;
        if self.json {
            return out.json(&answer);
        }
        let applied: Applied = client.understand(answer.get().as_bytes())?;
        let (name, epoch) = (&applied.pool, applied.epoch);
        if !applied.changed {
            return out.line(format_args!("pool {name}: nothing to change, still at epoch {epoch}"));
        }
        let moved = percent(applied.moved_ratio);
        out.line(format_args!("pool {name} is at epoch {epoch}; {moved} of the keys moved"))?;
        let flags = change_words::flags(&self.live.flags());
        let before = epoch.saturating_sub(1);
        out.dim(format_args!("to take it back:  ringway rollback{flags} --to-epoch {before}"))
    }
}
