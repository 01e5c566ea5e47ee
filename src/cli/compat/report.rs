//! What `ringway compat verify` found, for programs and for people.

use crate::cli::compat::columns::Columns;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::output::count;
use crate::cli::output::wrapped;
use crate::cli::table::Table;
use crate::cluster::node::Node;
use crate::compat::fit::Fit;
use crate::compat::fit::Fits;
use crate::compat::tally::Disagreement;
use crate::compat::tally::Lines;
use crate::compat::tally::Tally;
use crate::compat::written_rule::Logged;
use crate::control::pool_at::PoolAt;
use crate::placement::Fingerprint;
use crate::placement::PlacementSettings;
use serde::Serialize;
use std::fmt;

/// The whole result. Ratios are parts of what was compared, 0 to 1.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pool: String,
    epoch: u64,
    fingerprint: Fingerprint,
    placement: PlacementSettings,
    key_rule: String,
    log: String,
    /// The column of the key; absent where that was taken from the request.
    key_column: Option<String>,
    request_column: Option<String>,
    upstream_column: String,
    lines: u64,
    compared_lines: u64,
    alike_lines: u64,
    alike_lines_ratio: f64,
    /// Lines that went to the node that would be next after the owner.
    second_lines: u64,
    second_lines_ratio: f64,
    /// Distinct keys that were remembered.
    keys: usize,
    /// Whether the log has more keys than those.
    keys_are_a_sample: bool,
    alike_keys: usize,
    alike_keys_ratio: f64,
    /// Keys that the log has at several nodes.
    keys_at_several_nodes: usize,
    /// Those of servers that are no nodes of the pool, which are among the compared.
    elsewhere: Option<Left>,
    disagreements: Vec<Differing>,
    unused: Vec<Left>,
    /// The placement that fits best; null where none is better than chance.
    best_fit: Option<Fitting>,
    /// The next best, or the best where none is better than chance.
    other_fits: Vec<Fitting>,
    left_out: Vec<Refused>,
}

/// A line whose key the pool puts elsewhere.
#[derive(Debug, Serialize)]
struct Differing {
    line: u64,
    key: String,
    logged: String,
    placed: Option<String>,
    is_second: bool,
}

/// Lines that could not be compared, or not to a node.
#[derive(Debug, Serialize)]
struct Left {
    why: String,
    lines: u64,
    first_line: u64,
    example: String,
}

/// How well a placement fits.
#[derive(Debug, Serialize)]
struct Fitting {
    placement: PlacementSettings,
    /// As it is written in the config.
    written: String,
    /// Whether it is the pool's own, in all that follows too.
    is_configured: bool,
    /// The key rule, as a setting of the config.
    key: String,
    /// The placement-ids that nodes would have to be given; null to take one away.
    placement_ids: Vec<WantedId>,
    keys: usize,
    alike_keys: usize,
    alike_ratio: f64,
    /// What would be alike by chance.
    chance_ratio: f64,
    #[serde(skip)]
    is_other_rule: bool,
}

#[derive(Debug, Serialize)]
struct WantedId {
    node: String,
    placement_id: Option<String>,
}

/// A placement that could not be tried.
#[derive(Debug, Serialize)]
struct Refused {
    placement: String,
    why: String,
}

impl Report {
    /// Puts together what was counted, and what was found to fit. The log is given by its name.
    pub(super) fn new(at: &PoolAt, (log, columns): (&str, &Columns), tally: &Tally<'_>, fits: &Fits) -> Report {
        let nodes = at.membership.nodes();
        let keys = tally.key_counts();
        let compared = tally.compared();
        let is_key = columns.logged == Logged::Key;
        let column = |is_meant: bool| is_meant.then(|| columns.request.to_string());
        let fitting = |fit: &Fit| Fitting::new(fit, at);
        let best = fits.best();
        let others = fits.fits.iter().skip(usize::from(best.is_some()));
        Report {
            pool: at.pool.clone(),
            epoch: at.epoch,
            fingerprint: at.fingerprint,
            placement: at.membership.placement,
            key_rule: at.key.describe(),
            log: log.to_owned(),
            key_column: column(is_key),
            request_column: column(!is_key),
            upstream_column: columns.upstream.to_string(),
            lines: tally.lines,
            compared_lines: compared,
            alike_lines: tally.alike,
            alike_lines_ratio: part(tally.alike, compared),
            second_lines: tally.second,
            second_lines_ratio: part(tally.second, compared),
            keys: keys.all,
            keys_are_a_sample: tally.sample.is_part(),
            alike_keys: keys.alike,
            alike_keys_ratio: part(keys.alike as u64, keys.all as u64),
            keys_at_several_nodes: keys.at_several_nodes,
            elsewhere: tally.elsewhere.as_ref().map(|lines| Left::new(ELSEWHERE.to_owned(), lines)),
            disagreements: tally.disagreements.iter().map(|differing| Differing::new(differing, nodes)).collect(),
            unused: tally.unused.iter().map(|(why, unused)| Left::new(why.to_string(), unused)).collect(),
            best_fit: best.map(fitting),
            other_fits: others.take(FITS_LISTED).map(fitting).collect(),
            left_out: refused(fits),
        }
    }

    /// The result for people; `with_fits` for those who want to know how it came about.
    pub(super) fn show(&self, with_fits: bool, out: &mut Output) -> Result<(), Failure> {
        self.show_lines(out)?;
        self.show_alike(out)?;
        self.show_disagreements(out)?;
        if self.compared_lines > 0 {
            self.show_best(out)?;
        }
        if with_fits { self.show_fits(out) } else { Ok(()) }
    }

    fn show_lines(&self, out: &mut Output) -> Result<(), Failure> {
        let (log, lines, compared) = (&self.log, count_lines(self.lines), self.compared_lines);
        let keys = if self.keys_are_a_sample { "keys remembered of more" } else { "distinct keys" };
        out.line(format_args!("{log}: {lines}, {compared} of them compared, {} {keys}", self.keys))?;
        let key = match (&self.key_column, &self.request_column) {
            (None, Some(column)) => format!("{} of the request in column {column}", self.key_rule),
            (column, _) => format!("as logged in column {}", column.as_deref().unwrap_or_default()),
        };
        out.line(format_args!("key: {key}; upstream: column {}", self.upstream_column))?;
        for left in &self.unused {
            out.line(format_args!("  not compared: {left}"))?;
        }
        Ok(())
    }

    fn show_alike(&self, out: &mut Output) -> Result<(), Failure> {
        if self.compared_lines == 0 {
            return Ok(());
        }
        out.bold(format_args!(
            "placed alike: {} of the lines, {} of the keys, by pool {} with {}",
            share(self.alike_lines, self.compared_lines),
            share(self.alike_keys as u64, self.keys as u64),
            self.pool,
            self.placement
        ))?;
        if let Some(elsewhere) = &self.elsewhere {
            out.line(format_args!("  would move: {elsewhere}"))?;
        }
        if self.is_failover() && self.second_lines > 0 {
            let share = share(self.second_lines, self.compared_lines);
            out.line(format_args!(
                "  {share} of the lines went to the next candidate of their key, as after a failure"
            ))?;
        }
        if self.keys_at_several_nodes > 0 {
            let share = share(self.keys_at_several_nodes as u64, self.keys as u64);
            out.line(format_args!("  {share} of the keys were at more than one node in the log"))?;
        }
        Ok(())
    }

    /// Whether lines that went to the next candidate tell of failures: by another placement they are there by chance.
    fn is_failover(&self) -> bool {
        self.best_fit.as_ref().is_some_and(|best| best.is_configured)
    }

    fn show_disagreements(&self, out: &mut Output) -> Result<(), Failure> {
        if self.disagreements.is_empty() {
            return Ok(());
        }
        let disagreeing = match self.compared_lines - self.alike_lines {
            1 => "1 line disagrees; its key:".to_owned(),
            lines => format!("{lines} lines disagree; their first keys:"),
        };
        out.line(disagreeing)?;
        let mut table = Table::new(&["line", "in the log", "by Ringway", "key"], 9);
        for differing in &self.disagreements {
            let placed = differing.placed.as_deref().unwrap_or("no node");
            let next = if differing.is_second && self.is_failover() { " (next candidate)" } else { "" };
            let logged = format!("{}{next}", shortened(&differing.logged));
            table.row(vec![differing.line.to_string(), logged, placed.to_owned(), shortened(&differing.key)]);
        }
        out.table(&table.shortening(&[1, 2, 3]))
    }

    fn show_best(&self, out: &mut Output) -> Result<(), Failure> {
        match (&self.best_fit, self.other_fits.first()) {
            (Some(best), next) => best.show(next, out),
            (None, Some(closest)) if closest.alike_keys == closest.keys => {
                let keys = count(closest.keys, "key");
                let chance = closest.chance();
                out.bold(format_args!("too little to tell which placement fits: {keys}, {chance} alike by chance"))
            }
            (None, Some(closest)) => {
                let (alike, chance) = (share(closest.alike_keys as u64, closest.keys as u64), closest.chance());
                let closest = &closest.written;
                out.bold(format_args!(
                    "no placement fits: the closest, {closest}, has {alike} alike, by chance {chance}"
                ))?;
                out.line("  are these the nodes and weights of the other program, in its order, and is this its key?")
            }
            (None, None) => Ok(()),
        }
    }

    fn show_fits(&self, out: &mut Output) -> Result<(), Failure> {
        let mut table = Table::new(&["placement", "key", "other placement-ids", "alike", "by chance"], 2);
        for fit in self.best_fit.iter().chain(&self.other_fits) {
            let alike = share(fit.alike_keys as u64, fit.keys as u64);
            let chance = fit.chance();
            let key = fit.key.trim_start_matches("key = ").to_owned();
            table.row(vec![fit.written.clone(), key, fit.placement_ids.len().to_string(), alike, chance]);
        }
        out.table(&table.shortening(&[0, 1]))?;
        self.left_out
            .iter()
            .try_for_each(|Refused { placement, why }| out.line(format_args!("not tried: {placement}: {why}")))
    }
}

impl Differing {
    fn new(differing: &Disagreement, nodes: &[Node]) -> Differing {
        let name = |node: usize| nodes[node].name.to_string();
        Differing {
            line: differing.line,
            key: text(&differing.key),
            logged: differing.logged.map_or_else(|| text(&differing.upstream), name),
            placed: differing.placed.map(name),
            is_second: differing.is_second,
        }
    }
}

impl Left {
    fn new(why: String, lines: &Lines) -> Left {
        Left { why, lines: lines.lines, first_line: lines.first_line, example: text(&lines.example) }
    }
}

/// `2 lines, no upstream is logged, such as line 7: GET /`
impl fmt::Display for Left {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Left { why, first_line, example, .. } = self;
        write!(out, "{}, {why}, such as line {first_line}", count_lines(self.lines))?;
        if example.is_empty() { Ok(()) } else { write!(out, ": {}", shortened(example)) }
    }
}

impl Fitting {
    fn new(fit: &Fit, at: &PoolAt) -> Fitting {
        let wanted = fit.placement_ids(at.membership.nodes()).into_iter();
        let placement_ids: Vec<WantedId> = wanted.map(|(node, placement_id)| WantedId { node, placement_id }).collect();
        Fitting {
            placement: fit.settings,
            written: fit.settings.to_string(),
            is_configured: fit.settings == at.membership.placement && !fit.is_other_rule && placement_ids.is_empty(),
            key: fit.rule.setting(),
            placement_ids,
            keys: fit.keys,
            alike_keys: fit.alike,
            alike_ratio: fit.ratio(),
            chance_ratio: fit.chance,
            is_other_rule: fit.is_other_rule,
        }
    }

    fn chance(&self) -> String {
        format!("{:.1} %", self.chance_ratio * 100.0)
    }

    /// As the best, `next` being the one after it.
    fn show(&self, next: Option<&Fitting>, out: &mut Output) -> Result<(), Failure> {
        let alike = share(self.alike_keys as u64, self.keys as u64);
        let configured = if self.is_configured { ", as configured" } else { "" };
        let keys = count(self.keys, "key");
        out.bold(format_args!("best fit: {} ({alike} of {keys}){configured}", self.written))?;
        if self.is_configured {
            return Ok(());
        }
        out.line("  in the config:")?;
        out.line(format_args!("    placement = \"{}\"", self.written))?;
        if self.is_other_rule {
            out.line(format_args!("    {}", self.key))?;
        }
        let ids = self.placement_ids.iter().map(|wanted| match &wanted.placement_id {
            Some(id) => format!("{}: placement-id = \"{id}\"", wanted.node),
            None => format!("{}: no placement-id", wanted.node),
        });
        let hidden = self.placement_ids.len().saturating_sub(IDS_SHOWN);
        let rest = (hidden > 0).then(|| format!("and {hidden} more (--json shows all)"));
        if !self.placement_ids.is_empty() {
            let lines = wrapped("    nodes: ", ids.take(IDS_SHOWN).chain(rest));
            lines.into_iter().try_for_each(|line| out.line(line))?;
        }
        match next.filter(|next| next.alike_keys == self.alike_keys) {
            Some(next) => out.line(format_args!("  {} fits as well (--fits shows all)", next.written)),
            None => Ok(()),
        }
    }
}

fn refused(fits: &Fits) -> Vec<Refused> {
    let refused = fits.left_out.iter();
    let refused = refused.map(|left| Refused { placement: left.settings.to_string(), why: left.why.to_string() });
    refused.collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn part(some: u64, all: u64) -> f64 {
    some as f64 / all.max(1) as f64
}

/// A part in percent, that is not called all or nothing unless it is.
fn share(some: u64, all: u64) -> String {
    match format!("{:.1} %", part(some, all) * 100.0) {
        text if text == "100.0 %" && some < all => "> 99.9 %".to_owned(),
        text if text == "0.0 %" && some > 0 => "< 0.1 %".to_owned(),
        text => text,
    }
}

fn count_lines(number: u64) -> String {
    if number == 1 { "1 line".to_owned() } else { format!("{number} lines") }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(KEY_CHARS_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Why lines of such upstreams disagree.
const ELSEWHERE: &str = "the pool lacks the upstream";

/// Fits that are told beside the best.
const FITS_LISTED: usize = 20;

/// Placement-ids that are shown to people.
const IDS_SHOWN: usize = 12;

/// How much of a key is shown to people.
const KEY_CHARS_SHOWN: usize = 60;
