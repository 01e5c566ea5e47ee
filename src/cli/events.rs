//! `ringway events`: what was changed, when, by whom and why.

use crate::admin::model::EventPage;
use crate::cli::change_words;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::output::Table;
use crate::cli::target::LivePoolArgs;
use crate::cluster::log::Action;
use crate::cluster::log::Event;
use crate::control::news::News;
use clap::Args;
use serde_json::value::RawValue;
use std::time::Duration;
use std::time::UNIX_EPOCH;

/// Show what was changed, when, by whom and why
///
/// Oldest first: the latest changes, or with --after those that follow an epoch. With --follow what happens from now
/// on, in all pools or in one: changes, nodes that go down or come up, and panic.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway events                       the latest 20
  ringway events --after 3 --limit 5   epochs 4 to 8
  ringway events --after 0 --limit 1000 --json
  ringway events --follow              changes and health, as it happens")]
pub(super) struct EventsArgs {
    #[command(flatten)]
    live: LivePoolArgs,
    /// Begin after this epoch
    #[arg(long, value_name = "EPOCH")]
    after: Option<u64>,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Show what happens from now on, until Ctrl-C
    #[arg(short, long, conflicts_with_all = ["after", "limit"])]
    follow: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Reads page after page until enough is shown.
pub(super) fn run(args: &EventsArgs, out: &mut Output) -> Result<(), Failure> {
    if args.follow {
        return follow(args, out);
    }
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

fn follow(args: &EventsArgs, out: &mut Output) -> Result<(), Failure> {
    let client = args.live.admin.client()?;
    let pool = match args.live.pool.is_given() {
        true => Some(args.live.pool.of(&client)?.pool),
        false => None,
    };
    client.follow("/v1/events", |data| {
        let news: News = client.understand(data)?;
        if pool.is_some() && news.pool().is_some() && news.pool() != pool.as_deref() {
            return Ok(());
        }
        match args.json {
            true => out.json(&client.understand::<Box<RawValue>>(data)?)?,
            false => out.line(line(&news))?,
        }
        out.flush()
    })
}

/// One of the news for people.
fn line(news: &News) -> String {
    let (at_ms, what) = match news {
        News::Membership(event) => {
            let reason = event.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let what = describe(&event.action);
            (event.at_ms, format!("epoch {} by {}{reason}  {what}", event.epoch, event.actor))
        }
        News::Missed { events } => return format!("{events} events were missed: they came faster than they were read"),
        News::NodeDown { node, cause, at_ms, .. } => (*at_ms, format!("{node} is down  {cause}")),
        News::NodeUp { node, cause, at_ms, .. } => (*at_ms, format!("{node} is up  {cause}")),
        News::Panic { on: true, at_ms, .. } => (*at_ms, "too few nodes are well: requests go to all".to_owned()),
        News::Panic { on: false, at_ms, .. } => (*at_ms, "enough nodes are well again".to_owned()),
    };
    format!("{}  {}  {what}", time(at_ms), news.pool().unwrap_or_default())
}

fn time(at_ms: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(at_ms)).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

fn table(events: &[Event]) -> Table {
    let mut table = Table::new(&["epoch", "time", "by", "what", "why"], 5);
    for event in events {
        table.row(vec![
            event.epoch.to_string(),
            time(event.at_ms),
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
