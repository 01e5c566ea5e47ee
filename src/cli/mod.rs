//! The command line: its verbs, and what they share.

mod access_log;
mod apply;
mod change_words;
mod check;
mod client;
mod compat;
mod completions;
mod demo;
mod events;
mod explain;
mod export;
mod failure;
mod import;
mod include;
mod input;
mod locate;
mod node;
mod node_table;
mod offline;
mod output;
mod paint;
mod plan;
mod plan_file;
mod progress;
mod ring;
mod rollback;
mod serve;
mod simulate;
mod status;
mod table;
mod target;
mod terminal;
mod top;

pub use crate::cli::failure::Failure;

use crate::build_info;
use crate::cli::output::Output;
use crate::cli::paint::ColorChoice;
use clap::CommandFactory;
use clap::Parser;
use clap::Subcommand;

/// Put the same key on the same server: a consistent-hashing HTTP proxy.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, long_version = build_info::LONG_VERSION)]
#[command(before_long_help = EXAMPLES, after_help = EXIT_CODES)]
#[command(arg_required_else_help = true, max_term_width = 110)]
struct Cli {
    /// When there are colours
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto", help_heading = "Output")]
    color: ColorChoice,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(serve::ServeArgs),
    Demo(demo::DemoArgs),
    Check(check::CheckArgs),
    Status(status::StatusArgs),
    Top(top::TopArgs),
    Locate(locate::LocateArgs),
    Explain(explain::ExplainArgs),
    Plan(plan::PlanArgs),
    Apply(apply::ApplyArgs),
    Node(node::NodeArgs),
    Ring(ring::RingArgs),
    Events(events::EventsArgs),
    Rollback(rollback::RollbackArgs),
    Import(import::ImportArgs),
    Compat(compat::CompatArgs),
    Simulate(simulate::SimulateArgs),
    Export(export::ExportArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
}

/// Reads the command line and does what it says. Bad usage ends the process with exit code 2, as clap does.
///
/// # Errors
/// When the verb fails; the failure knows its message and exit code.
pub fn run() -> Result<(), Failure> {
    let Cli { color, verb } = Cli::parse();
    let mut out = Output::new(color);
    let done = match verb {
        Verb::Serve(args) => serve::run(args, color),
        Verb::Demo(args) => demo::run(&args, &mut out),
        Verb::Check(args) => check::run(&args, &mut out),
        Verb::Status(args) => status::run(&args, &mut out),
        Verb::Top(args) => top::run(&args, &mut out),
        Verb::Locate(args) => locate::run(&args, &mut out),
        Verb::Explain(args) => explain::run(&args, &mut out),
        Verb::Plan(args) => plan::run(&args, &mut out),
        Verb::Apply(args) => apply::run(&args, &mut out),
        Verb::Node(args) => node::run(&args, &mut out),
        Verb::Ring(args) => ring::run(&args, &mut out),
        Verb::Events(args) => events::run(&args, &mut out),
        Verb::Rollback(args) => rollback::run(&args, &mut out),
        Verb::Import(args) => import::run(&args, &mut out),
        Verb::Compat(args) => compat::run(&args, &mut out),
        Verb::Simulate(args) => simulate::run(&args, &mut out),
        Verb::Export(args) => export::run(&args, &mut out),
        Verb::Completions(args) => completions::run(&args, Cli::command(), &mut out),
        Verb::Man(args) => completions::man(&args, Cli::command(), &mut out),
    };
    // What was written before a failure is a result too.
    let flushed = out.flush();
    done.and(flushed)
}

const EXAMPLES: &str = "\
Examples:
  ringway serve --listen :8080 --key header:x-room a=10.0.0.10:3000 b=10.0.0.11:3000
  ringway locate room-42                       where a key lives
  ringway plan add c=10.0.0.12:3000            what adding a node would move
  ringway apply --if-epoch 1 add c=10.0.0.12:3000
  ringway status";

const EXIT_CODES: &str = "\
Exit codes: 0 ok, 1 failed, 2 bad usage or config, 3 the pool has changed since the plan,
4 refused as unsafe without --force.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;

    /// Verbs without `--json`, and why.
    const WITHOUT_JSON: [(&str, &str); 6] = [
        ("completions", "a script for a shell"),
        ("demo", "a story for people; the proxy that it starts answers the others"),
        ("export", "files for other programs, each in its own form"),
        ("help", "for people; `man` is the same as a page"),
        ("man", "a page for man(1)"),
        ("serve", "prints nothing; it logs, as JSON with `--log-format json`"),
    ];

    /// The verbs that do something, each with its words.
    fn verbs(command: &Command, words: &str) -> Vec<(String, Command)> {
        let below = command.get_subcommands().filter(|verb| words.is_empty() || verb.get_name() != "help");
        let verbs: Vec<(String, Command)> =
            below.flat_map(|verb| verbs(verb, format!("{words} {}", verb.get_name()).trim())).collect();
        if verbs.is_empty() { vec![(words.to_owned(), command.clone())] } else { verbs }
    }

    #[test]
    fn every_verb_writes_json_or_has_a_reason() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        let verbs = verbs(&command, "");
        assert!(verbs.len() > 20, "{verbs:?}");
        for (verb, command) in &verbs {
            let has_json = command.get_arguments().any(|argument| argument.get_long() == Some("json"));
            let first = verb.split(' ').next();
            let reason = WITHOUT_JSON.iter().find(|(without, _)| Some(*without) == first);
            assert_eq!(has_json, reason.is_none(), "{verb}: {reason:?}");
            let mut rows = include_str!("../../docs/json.md").lines().filter_map(|line| line.strip_prefix("| `"));
            let is_documented =
                rows.any(|row| row.split('|').take(1).any(|verbs| format!("`{verbs}").contains(&format!("`{verb}`"))));
            assert_eq!(is_documented, has_json, "{verb} in docs/json.md");
        }
        for (without, _) in WITHOUT_JSON {
            assert!(command.find_subcommand(without).is_some(), "there is no verb {without}");
        }
    }
}
