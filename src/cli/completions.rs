//! `ringway completions` and `man`: what shells and manuals read.

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::section::nearest;
use clap::Args;
use clap::Command;
use clap_complete::Shell;

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway completions bash > /etc/bash_completion.d/ringway
  ringway completions fish > ~/.config/fish/completions/ringway.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Print the manual page, of the program or of one verb
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway man | man -l -
  ringway man plan > /usr/local/share/man/man1/ringway-plan.1")]
pub(super) struct ManArgs {
    /// The verb
    verb: Option<String>,
}

/// Prints the completions.
pub(super) fn run(args: &CompletionsArgs, mut command: Command, out: &mut Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "ringway", &mut script);
    out.text(&String::from_utf8_lossy(&script))
}

/// Prints the page of the program, or of one verb.
pub(super) fn man(args: &ManArgs, mut command: Command, out: &mut Output) -> Result<(), Failure> {
    command.build();
    let command = match &args.verb {
        None => command,
        Some(verb) => {
            let names = command.get_subcommands().map(Command::get_name);
            let message = match nearest(verb, names) {
                Some(name) => format!("there is no verb `{verb}`; did you mean `{name}`?"),
                None => format!("there is no verb `{verb}`; `ringway help` lists them"),
            };
            command.find_subcommand(verb).cloned().ok_or(Failure::Usage(message))?
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    out.text(&String::from_utf8_lossy(&page))
}
