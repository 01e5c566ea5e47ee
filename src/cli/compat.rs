//! `ringway compat`: what those need who come from another program.

mod columns;
mod report;
mod verify;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use clap::Args;
use clap::Subcommand;

/// Come from another program without moving a key
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway compat verify -c ringway.toml --log /var/log/nginx/access.log")]
pub(super) struct CompatArgs {
    #[command(subcommand)]
    verb: CompatVerb,
}

#[derive(Debug, Subcommand)]
enum CompatVerb {
    Verify(verify::VerifyArgs),
}

/// Does what the second verb says.
pub(super) fn run(args: &CompatArgs, out: &mut Output) -> Result<(), Failure> {
    match &args.verb {
        CompatVerb::Verify(args) => verify::run(args, out),
    }
}
