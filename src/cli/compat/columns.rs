//! Which columns of an access log hold the request or the key, and the upstream.

use crate::cli::access_log::AccessLog;
use crate::cli::access_log::Column;
use crate::cli::access_log::Line;
use crate::cli::failure::Failure;
use crate::compat::request_line::RequestLine;
use crate::compat::upstreams::Upstream;
use crate::compat::upstreams::Upstreams;
use crate::compat::written_rule::Logged;
use crate::compat::written_rule::WrittenRule;
use clap::Args;
use std::collections::BTreeMap;

/// The columns that are named on the command line; the others are looked for.
#[derive(Debug, Args)]
pub(super) struct ColumnArgs {
    /// Column of the key itself, as the other program hashed it
    ///
    /// Columns are counted from 1, or from -1 for the last. White space sets them apart, but not within double quotes,
    /// the brackets of a date or a list of upstreams; each header that HAProxy captured is a column. Where a line is an
    /// object in JSON, a column is the name of a field, or a JSON pointer such as /request/uri.
    #[arg(long, value_name = "COLUMN", allow_negative_numbers = true, conflicts_with = "request_column")]
    key_column: Option<Column>,
    /// Column of the request, such as `GET /ws/?room=42 HTTP/1.1`, or of its path and query, out of which the key rule
    /// of the pool takes the key [default: the one that looks like that]
    #[arg(long, value_name = "COLUMN", allow_negative_numbers = true)]
    request_column: Option<Column>,
    /// Column of the node: its address, its name, or BACKEND/SERVER [default: the one in which nodes of the pool stand]
    #[arg(long, value_name = "COLUMN", allow_negative_numbers = true)]
    upstream_column: Option<Column>,
}

/// The columns that are read.
#[derive(Debug)]
pub(super) struct Columns {
    /// What the other one holds.
    pub(super) logged: Logged,
    /// The key or the request.
    pub(super) request: Column,
    /// The upstream.
    pub(super) upstream: Column,
}

impl ColumnArgs {
    /// The columns that were named, and those that can be told by what stands in the first lines.
    pub(super) fn choose(
        &self,
        log: &mut AccessLog,
        rule: &WrittenRule,
        upstreams: &Upstreams,
    ) -> Result<Columns, Failure> {
        let (logged, request) = match (&self.key_column, &self.request_column) {
            (Some(column), _) => (Logged::Key, Some(column.clone())),
            (None, column) => {
                check_rule(log, rule)?;
                (Logged::Request, column.clone())
            }
        };
        let request = match request {
            Some(column) => column,
            None => {
                let found = find(log, RequestLine::is_whole)?;
                found.map_err(|why| unknown(log, "requests", "--request-column", why))?
            }
        };
        let upstream = match &self.upstream_column {
            Some(column) => column.clone(),
            None => {
                let found = find(log, |text| matches!(upstreams.find(text), Upstream::Node(_)))?;
                found.map_err(|why| unknown(log, "nodes of the pool", "--upstream-column", why))?
            }
        };
        Ok(Columns { logged, request, upstream })
    }
}

/// Refuses a rule that no request line decides.
fn check_rule(log: &mut AccessLog, rule: &WrittenRule) -> Result<(), Failure> {
    rule.check_request_line().map_err(|source| {
        let (rule, columns) = (rule.rule.describe(), numbered(log));
        Failure::Usage(format!(
            "the key rule of the pool is {rule}, and {source} cannot be read from a logged request; log the key as the \
             other program hashes it, and name its column with --key-column{columns}"
        ))
    })
}

/// Why there is no column.
enum NotFound {
    Ambiguous(Vec<Column>),
    Nowhere,
}

/// The one column that is so more often than all others in the first lines, by far.
fn find(log: &mut AccessLog, is_so: impl Fn(&[u8]) -> bool) -> Result<Result<Column, NotFound>, Failure> {
    let mut found: BTreeMap<Column, usize> = BTreeMap::new();
    for line in log.first(LINES_LOOKED_AT)? {
        for (column, _) in line.columns().into_iter().filter(|(_, text)| is_so(text)) {
            *found.entry(column).or_default() += 1;
        }
    }
    let most = found.values().max().copied().unwrap_or_default();
    found.retain(|_, times| 2 * *times >= most);
    let mut found: Vec<Column> = found.into_keys().collect();
    Ok(match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(NotFound::Nowhere),
        _ => Err(NotFound::Ambiguous(found)),
    })
}

fn unknown(log: &mut AccessLog, what: &str, option: &str, why: NotFound) -> Failure {
    let why = match why {
        NotFound::Nowhere => format!("none of the first {LINES_LOOKED_AT} lines has any"),
        NotFound::Ambiguous(columns) => {
            let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
            format!("it may be {}", columns.join(" or "))
        }
    };
    let (name, columns) = (log.name().to_owned(), numbered(log));
    Failure::Usage(format!("which column of {name} holds {what}? {why}; name it with {option}{columns}"))
}

/// The first line with its columns, for people to choose from; empty where there is no line.
pub(super) fn numbered(log: &mut AccessLog) -> String {
    let Ok(mut lines) = log.first(LINES_LOOKED_AT) else { return String::new() };
    lines.find(|line| !line.columns().is_empty()).map(|line| list(&line)).unwrap_or_default()
}

/// The columns of a line below one another.
fn list(line: &Line<'_>) -> String {
    let columns = line.columns();
    let shown = &columns[..columns.len().min(COLUMNS_SHOWN)];
    let width = shown.iter().map(|(column, _)| column.to_string().len()).max().unwrap_or_default();
    let mut list = "\nthe first line has these columns:".to_owned();
    for (column, text) in shown {
        let text: String = String::from_utf8_lossy(text).escape_debug().take(TEXT_CHARS_SHOWN).collect();
        list += &format!("\n  {:>width$}  {text}", column.to_string());
    }
    match columns.len() - shown.len() {
        0 => list,
        more => list + &format!("\n  and {more} more"),
    }
}

/// Lines that show what the columns hold.
const LINES_LOOKED_AT: usize = 100;

/// How many columns are shown.
const COLUMNS_SHOWN: usize = 40;

/// How much of a column is shown.
const TEXT_CHARS_SHOWN: usize = 80;
