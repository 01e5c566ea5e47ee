//! `ringway events`: what was changed, when, by whom and why.

use crate::admin::model::EventPage;
use crate::cli::change_words;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::cli::target::LivePoolArgs;
use crate::cluster::log::Action;
use crate::cluster::log::Event;
use crate::control::news::News;
use clap::Args;
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;
use std::time::UNIX_EPOCH;

/// Show what was changed, when, by whom and why
///
/// Oldest first: the latest changes, or with --after those that follow an epoch. With --follow also what happens from
/// then on, in all pools or in one: changes, nodes that go down or come up, and panic. It goes on when the proxy is
/// restarted, and shows the changes that were made meanwhile.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway events                       the latest 20
  ringway events --after 3 --limit 5   epochs 4 to 8
  ringway events --after 0 --limit 1000 --json
  ringway events -f                    the latest 20, and what happens from then on
  ringway events -f -n 0 --json        only that, for a program")]
pub(super) struct EventsArgs {
    #[command(flatten)]
    live: LivePoolArgs,
    /// Begin after this epoch
    #[arg(long, value_name = "EPOCH")]
    after: Option<u64>,
    /// Show at most this many; with --follow and --after, all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    limit: u64,
    /// Go on with what happens, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// One JSON object a line; with --follow its member `event` says what happened
    #[arg(long)]
    json: bool,
}

/// Shows the history, or follows it.
pub(super) fn run(args: &EventsArgs, out: &mut Output) -> Result<(), Failure> {
    if args.follow {
        return follow(args, out);
    }
    let (client, pool) = args.live.open()?;
    let after = args.after.unwrap_or(pool.epoch.saturating_sub(args.limit));
    let events = history(&client, &pool.pool, after, args.limit)?;
    if args.json {
        return events.iter().try_for_each(|event| out.json(event));
    }
    out.table(&table(&events))
}

/// The events of a pool after an epoch, so many at most; page after page.
fn history(client: &Client, pool: &str, mut after: u64, limit: u64) -> Result<Vec<Event>, Failure> {
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut events = Vec::new();
    while events.len() < wanted {
        let page: EventPage = client.get(&format!("/v1/pools/{pool}/events?after={after}"))?;
        events.extend(page.events);
        // The next page begins further on, or a proxy could keep this loop going for ever.
        match page.next_after.filter(|next| *next > after) {
            Some(next) => after = next,
            None => break,
        }
    }
    events.truncate(wanted);
    Ok(events)
}

/// Fails only at first: a proxy that has once answered comes back.
fn follow(args: &EventsArgs, out: &mut Output) -> Result<(), Failure> {
    let client = args.live.admin.client()?;
    let pool = match args.live.pool.is_given() || args.after.is_some() {
        true => Some(args.live.pool.of(&client)?.pool),
        false => None,
    };
    let mut follower = Follower { args, client: &client, pool, seen: HashMap::new(), lost: None, out };
    loop {
        let Err(failure) = follower.listen();
        if follower.seen.is_empty() || matches!(failure, Failure::Output(_)) {
            return Err(failure);
        }
        let why = failure.message();
        if let Some(why) = why.as_ref().filter(|_| follower.lost != why) {
            eprintln!("{why}; trying again");
        }
        follower.lost = why;
        std::thread::sleep(RETRY_EVERY);
    }
}

/// Somebody who reads a history as it grows.
struct Follower<'a> {
    args: &'a EventsArgs,
    client: &'a Client,
    /// Only what happens in this pool.
    pool: Option<String>,
    /// The last epoch of each pool that was shown, or that was not asked for.
    seen: HashMap<String, u64>,
    /// Why nothing is heard, if that has been said.
    lost: Option<String>,
    out: &'a mut Output,
}

impl Follower<'_> {
    /// Shows what has not been shown yet, and then what happens, until the stream ends.
    fn listen(&mut self) -> Result<Infallible, Failure> {
        // In this order, or what happens in between would be lost. What comes twice is shown once.
        let mut stream = self.client.wait(self.client.listen("/v1/events", PATIENCE))?;
        self.lost = None;
        for event in self.missed()? {
            self.show(&News::Membership(event))?;
        }
        self.out.flush()?;
        loop {
            let news: News = self.client.understand(&self.client.wait(stream.next())?.data)?;
            if self.pool.is_none() || news.pool().is_none() || news.pool() == self.pool.as_deref() {
                self.show(&news)?;
                self.out.flush()?;
            }
        }
    }

    /// The changes that were made before this was heard and are to be shown, in the order of their time.
    fn missed(&mut self) -> Result<Vec<Event>, Failure> {
        let is_first = self.seen.is_empty();
        let mut missed = Vec::new();
        for pool in self.client.pools()? {
            if self.pool.as_ref().is_some_and(|wanted| *wanted != pool.pool) {
                continue;
            }
            // A store in memory begins anew with its proxy.
            let seen = self.seen.get(&pool.pool).copied().filter(|seen| *seen <= pool.epoch).unwrap_or_default();
            let after = match (is_first, self.args.after) {
                (true, Some(after)) => after,
                (true, None) => pool.epoch.saturating_sub(self.args.limit),
                (false, _) => seen,
            };
            missed.extend(history(self.client, &pool.pool, after, u64::MAX)?);
            self.seen.insert(pool.pool, after);
        }
        missed.sort_by_key(|event| event.at_ms);
        if is_first && self.args.after.is_none() {
            let limit = usize::try_from(self.args.limit).unwrap_or(usize::MAX);
            missed.drain(..missed.len().saturating_sub(limit));
        }
        Ok(missed)
    }

    /// Shows one of the news, unless it has been shown.
    fn show(&mut self, news: &News) -> Result<(), Failure> {
        if let News::Membership(event) = news {
            let seen = self.seen.entry(event.pool.clone()).or_default();
            if event.epoch <= *seen {
                return Ok(());
            }
            *seen = event.epoch;
        }
        match self.args.json {
            true => self.out.json(news),
            false => self.out.line(line(news)),
        }
    }
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
    // People, changes and reasons are as long as people like.
    table.shortening(&[2, 3, 4])
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

/// How long a stream may be silent; it says that it is alive four times as often.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long after a proxy is lost it is looked for again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Changes of one event that are shown to people.
const CHANGES_SHOWN: usize = 4;
