//! `ringway rollback`: back to the membership of an earlier epoch.

use crate::admin::model::RollbackRequest;
use crate::cli::apply::WriteArgs;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use clap::Args;

/// Go back to the membership of an earlier epoch
///
/// The return is an event of its own: the history stays whole.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway events                       which epochs there are, and what they changed
  ringway rollback --to-epoch 6")]
pub(super) struct RollbackArgs {
    /// The epoch to go back to
    #[arg(long, value_name = "N")]
    to_epoch: u64,
    #[command(flatten)]
    write: WriteArgs,
}

/// Goes back and says what that did.
pub(super) fn run(args: &RollbackArgs, out: &mut Output) -> Result<(), Failure> {
    let write = &args.write;
    let (client, pool) = write.live.open()?;
    let request = RollbackRequest {
        to_epoch: args.to_epoch,
        if_epoch: write.if_epoch,
        reason: write.reason.clone(),
        force: write.force,
    };
    write.write(&client, &pool, ("rollback", &request), out)
}
