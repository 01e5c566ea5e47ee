//! `ringway events`: what was changed, when, by whom and why.

use crate::admin::model::EventPage;
use crate::cli::change_words;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::output::Table;
use crate::cli::target::LivePoolArgs;
use crate::cluster::log::Action;
use crate::cluster::log::Event;
use clap::Args;
use std::time::Duration;
use std::time::UNIX_EPOCH;

/// Show what was changed, when, by whom and why
///
/// Oldest first: the latest changes, or with --after those that follow an epoch.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway events                       the latest 20
  ringway events --after 3 --limit 5   epochs 4 to 8
  ringway events --after 0 --limit 1000 --json")]
pub(super) struct EventsArgs {
    #[command(flatten)]
    live: LivePoolArgs,
    /// Begin after this epoch
    #[arg(long, value_name = "EPOCH")]
    after: Option<u64>,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Reads page after page until enough is shown.
pub(super) fn run(args: &EventsArgs, out: &mut Output) -> Result<(), Failure> {
    let (client, pool) = args.live.open()?;
    let mut after = args.after.unwrap_or(pool.epoch.saturating_sub(args.limit));
    let wanted = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut events = Vec::new();
    while events.len() < wanted {
        let page: EventPage = client.get(&format!("/v1/pools/{}/events?after={after}", pool.pool))?;
        events.extend(page.events);
        // The next page begins further on, or a proxy could keep this loop going for ever.
        match page.next_after.filter(|next| *next > after) {
            Some(next) => after = next,
            None => break,
        }
    }
    events.truncate(wanted);
    if args.json {
        return events.iter().try_for_each(|event| out.json(event));
    }
    out.table(&table(&events))
}

fn table(events: &[Event]) -> Table {
    let mut table = Table::new(&["epoch", "time", "by", "what", "why"], 5);
    for event in events {
        let time = UNIX_EPOCH.checked_add(Duration::from_millis(event.at_ms)).unwrap_or(UNIX_EPOCH);
        table.row(vec![
            event.epoch.to_string(),
            humantime::format_rfc3339_seconds(time).to_string(),
            event.actor.clone(),
            describe(&event.action),
            event.reason.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn describe(action: &Action) -> String {
    match action {
        Action::Changes(changes) => {
            let shown = &changes[..changes.len().min(CHANGES_SHOWN)];
            let hidden = changes.len() - shown.len();
            let words = change_words::print(shown);
            match hidden {
                0 => words,
                _ => format!("{words} and {hidden} more"),
            }
        }
        Action::Rollback { to_epoch, .. } => format!("rollback to epoch {to_epoch}"),
    }
}

/// Changes of one event that are shown to people.
const CHANGES_SHOWN: usize = 4;
