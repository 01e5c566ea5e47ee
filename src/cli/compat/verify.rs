//! `ringway compat verify`: whether every key would stay where another program put it.

use crate::cli::access_log::AccessLog;
use crate::cli::access_log::Column;
use crate::cli::access_log::Line;
use crate::cli::compat::columns;
use crate::cli::compat::columns::ColumnArgs;
use crate::cli::compat::columns::Columns;
use crate::cli::compat::report::Report;
use crate::cli::failure::Failure;
use crate::cli::offline::Offline;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::target::PoolArg;
use crate::compat::fit::Fits;
use crate::compat::tally::Compared;
use crate::compat::tally::Tally;
use crate::compat::tally::Unusable;
use crate::compat::upstreams::Upstreams;
use crate::compat::written_rule::WrittenRule;
use clap::Args;
use std::path::PathBuf;

/// Say whether every key would stay where another program put it
///
/// Compares the access log of nginx, HAProxy, Envoy or another program in production, line by line, with where the pool
/// puts the same keys, and names the placement that fits best. Bytes that nginx and HAProxy wrote as \xHH and #HH are
/// read as what they were. Up to 100,000 distinct keys are remembered, a fair sample where there are more; lines are
/// counted without a limit. Exit code 0 when all are alike, 1 when some are not, 2 when nothing could be compared.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway compat verify -c ringway.toml --log /var/log/nginx/access.log
  ringway compat verify -c ringway.toml --log access.log --request-column 5 --upstream-column -1
  ringway compat verify -c ringway.toml --log access.json --key-column session --upstream-column upstream
  zcat haproxy.log.*.gz | ringway compat verify -c ringway.toml --pool app --log - --fits")]
pub(super) struct VerifyArgs {
    /// Config file; its store counts where it owns the pool
    #[arg(short, long, value_name = "FILE", help_heading = "Whom to ask")]
    config: PathBuf,
    #[command(flatten)]
    pool: PoolArg,
    /// Access log of the other program; - reads standard input
    #[arg(long, value_name = "FILE")]
    log: String,
    #[command(flatten)]
    columns: ColumnArgs,
    /// How many disagreements to show
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=1_000))]
    disagreements: u16,
    /// Show how well each placement fits, and why some could not be tried
    #[arg(long)]
    fits: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Compares all lines, then looks for what fits better.
pub(super) fn run(args: &VerifyArgs, out: &mut Output) -> Result<(), Failure> {
    let offline = Offline::open(&args.config)?;
    let pool = offline.pool(&args.pool)?;
    let at = offline.pool_at(pool, None)?;
    let settings = &pool.settings;
    let rule = WrittenRule {
        rule: at.key.clone(),
        sources: settings.key_sources.clone(),
        hash_tag: settings.hash_tag.clone(),
    };
    let mut log = AccessLog::open(&args.log)?;
    let nodes = at.membership.nodes();
    let columns = args.columns.choose(&mut log, &rule, &Upstreams::of(nodes))?;
    let first_line = columns::numbered(&mut log);
    let compared = Compared { nodes, placement: &at.placement, rule: &rule, logged: columns.logged };
    let mut tally = Tally::new(compared, args.disagreements.into());
    let mut progress = Progress::new(0);
    compare(&mut log, &columns, &mut tally, &mut progress)?;
    progress.show("looking for the placement that fits best");
    let fits = Fits::find(compared, &tally.sample);
    drop(progress);
    let is_alike = tally.alike == tally.compared();
    let report = Report::new(&at, (log.name(), &columns), &tally, &fits);
    match args.json {
        true => out.json(&report)?,
        false => report.show(args.fits, out)?,
    }
    match tally.at_nodes() {
        0 => Err(Failure::Usage(format!("no line of {} could be compared{first_line}", log.name()))),
        _ if is_alike => Ok(()),
        _ => Err(Failure::Differs),
    }
}

fn compare(
    log: &mut AccessLog,
    columns: &Columns,
    tally: &mut Tally<'_>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    while let Some((number, line)) = log.next_line()? {
        if number.is_multiple_of(LINES_BETWEEN) {
            progress.show(&format!("{number} lines"));
        }
        match (line.get(&columns.request), line.get(&columns.upstream)) {
            _ if matches!(line, Line::TooLong) => tally.leave_out(number, Unusable::TooLong, b""),
            (Some(request), Some(upstream)) => tally.add(number, &request, &upstream),
            (request, _) => {
                let missing = if request.is_none() { &columns.request } else { &columns.upstream };
                let why = match (&line, missing) {
                    (Line::Words(_), Column::Name(_)) => Unusable::NotJson,
                    _ => Unusable::NoColumn,
                };
                tally.leave_out(number, why, format!("column {missing}").as_bytes());
            }
        }
    }
    Ok(())
}

/// Lines after which progress is shown again: a fraction of a second.
const LINES_BETWEEN: u64 = 100_000;
