//! `ringway top`: the nodes of a running proxy as they do, brought up to date each second.

mod feed;
mod frame;
mod keys;

use crate::admin::model::Status;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::node_table::Sort;
use crate::cli::output::Output;
use crate::cli::target::AdminArgs;
use crate::cli::target::PoolArg;
use crate::cli::terminal;
use crate::cli::terminal::Screen;
use crate::cli::top::feed::Feed;
use crate::cli::top::feed::Told;
use crate::cli::top::frame::Frame;
use crate::cli::top::keys::Input;
use crate::cli::top::keys::Key;
use clap::Args;
use std::ops::RangeInclusive;
use std::time::Duration;
use std::time::SystemTime;
use tokio::sync::mpsc;
use tokio::sync::mpsc::Receiver;

/// Watch the nodes of a running proxy
///
/// In a terminal, a table that is brought up to date until q or Ctrl-C (exit code 0, since that is how one leaves it).
/// Elsewhere, and with -n, a table each time, as top -b prints them. It goes on when the proxy is restarted. A narrow
/// terminal leaves out columns, in this order: changed, zone, weight, address, p50, state, why, errors, serves, drain,
/// in flight, p99, owns.
///
/// Keys: q leaves, s sorts by the next column, arrows, page up and page down move in a long table.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway top
  ringway top rooms --sort serves
  ringway top -n 1 --admin unix:/run/ringway/admin.sock
  ringway top --json --interval 10s | jq -c '.pools[].requests_per_second'")]
pub(super) struct TopArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// Show this pool only
    #[arg(value_name = "POOL")]
    shown: Option<String>,
    #[command(flatten)]
    pool: PoolArg,
    /// What to sort the nodes by
    #[arg(long, value_name = "COLUMN", default_value = "added")]
    sort: Sort,
    /// How often to show how it is: 1s to 60s
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// End after so many tables
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// One JSON object a line, each as of `status --json`
    #[arg(long)]
    json: bool,
}

/// Watches until it is told to end.
pub(super) fn run(args: &TopArgs, out: &mut Output) -> Result<(), Failure> {
    let client = args.admin.client()?;
    let pool = match (&args.shown, args.pool.is_given()) {
        (Some(_), true) => return Err(Failure::Usage("give the pool once, with --pool or without".to_owned())),
        (Some(name), false) => Some(PoolArg::named(name).of(&client)?.pool),
        (None, true) => Some(args.pool.of(&client)?.pool),
        (None, false) => None,
    };
    client.wait(watch(args, &client, pool, out))
}

async fn watch(args: &TopArgs, client: &Client, pool: Option<String>, out: &mut Output) -> Result<(), Failure> {
    let (told, hear) = mpsc::channel(1);
    let feed = Feed::new(client, pool.as_deref(), args.interval, told);
    let is_live = !args.json && args.count.is_none() && out.columns().is_some() && terminal::has_screens();
    let show = async {
        let mut watcher = Watcher { client, pool: pool.as_deref(), sort: args.sort, left: args.count, hear, out };
        match is_live {
            true => watcher.live().await,
            false => watcher.print(args.json).await,
        }
    };
    tokio::select! {
        Err(failure) = feed.tell() => Err(failure),
        shown = show => shown,
    }
}

/// What is on the screen.
struct Shown {
    status: Status,
    /// Why it is not how the proxy does any more.
    lost: Option<String>,
    /// How many rows are out of sight at the top.
    scrolled: usize,
}

/// Somebody who looks.
struct Watcher<'a> {
    client: &'a Client,
    pool: Option<&'a str>,
    sort: Sort,
    /// How many tables are still to be shown; for ever without a number.
    left: Option<u64>,
    hear: Receiver<Told>,
    out: &'a mut Output,
}

impl Watcher<'_> {
    /// Prints table after table.
    async fn print(&mut self, is_json: bool) -> Result<(), Failure> {
        while self.left != Some(0) {
            match self.hear.recv().await {
                None => break,
                Some(Told::Lost(why)) => eprintln!("{why}; trying again"),
                Some(Told::Status(data)) if is_json => {
                    self.out.text(&String::from_utf8_lossy(&data))?;
                    self.out.text("\n")?;
                    self.count();
                }
                Some(Told::Status(data)) => {
                    let status = self.understand(&data)?;
                    self.print_table(&status)?;
                    self.count();
                }
            }
            self.out.flush()?;
        }
        Ok(())
    }

    fn print_table(&mut self, status: &Status) -> Result<(), Failure> {
        let frame = Frame::of(status, self.out.columns(), SystemTime::now());
        frame.lines().try_for_each(|line| self.out.paint(line))?;
        self.out.line("")
    }

    /// Shows the nodes on a screen of their own, until somebody leaves it.
    async fn live(&mut self) -> Result<(), Failure> {
        // A failure before anything is shown is told where it can be read.
        let Some(Told::Status(data)) = self.hear.recv().await else { return Ok(()) };
        let mut shown = Shown { status: self.understand(&data)?, lost: None, scrolled: 0 };
        let screen = Screen::take()?;
        let mut input = Input::new(screen.has_keys())?;
        loop {
            self.draw(&mut shown, &screen)?;
            tokio::select! {
                told = self.hear.recv() => match told {
                    None => return Ok(()),
                    Some(Told::Lost(why)) => shown.lost = Some(why),
                    Some(Told::Status(data)) => (shown.status, shown.lost) = (self.understand(&data)?, None),
                },
                key = input.next() => match key {
                    Key::Leave => return Ok(()),
                    Key::Stop => screen.stop_and_go_on()?,
                    Key::GoOn => screen.take_again()?,
                    Key::Sort => {
                        self.sort = self.sort.next();
                        self.arrange(&mut shown.status);
                    }
                    Key::Scroll(to) => shown.scrolled = to.of(shown.scrolled, terminal::size().rows),
                    Key::Resize | Key::Other => {}
                },
            }
        }
    }

    fn draw(&self, shown: &mut Shown, screen: &Screen) -> Result<(), Failure> {
        let size = terminal::size();
        let frame = Frame::of(&shown.status, Some(size.columns), SystemTime::now());
        shown.scrolled = shown.scrolled.min(frame.scroll_max(size));
        let lines = frame.shown(size, shown.scrolled, frame::footer(shown.lost.as_deref(), self.sort));
        Ok(screen.show(&lines, size, self.out.colours())?)
    }

    fn understand(&self, data: &[u8]) -> Result<Status, Failure> {
        let mut status: Status = self.client.understand(data)?;
        if let Some(wanted) = self.pool {
            status.pools.retain(|pool| pool.pool == wanted);
        }
        self.arrange(&mut status);
        Ok(status)
    }

    /// Puts the nodes in order.
    fn arrange(&self, status: &mut Status) {
        status.pools.iter_mut().for_each(|pool| self.sort.sort(&mut pool.nodes));
    }

    fn count(&mut self) {
        self.left = self.left.map(|left| left.saturating_sub(1));
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match INTERVALS.contains(&interval) {
        true => Ok(interval),
        false => Err("give 1s to 60s".to_owned()),
    }
}

/// How often a proxy tells how it does.
const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
