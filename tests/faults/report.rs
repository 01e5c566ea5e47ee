//! The tables: one for each proxy, and the proxies side by side.

use crate::fault::Fault;
use crate::figures::Figures;
use crate::proxy::Proxy;
use crate::run::Phases;
use crate::summary::Summary;
use std::fmt::Write;
use std::process::Command;

/// All runs of one proxy under one fault.
pub(crate) struct Entry {
    pub(crate) proxy: Proxy,
    pub(crate) fault: Fault,
    pub(crate) runs: Vec<Figures>,
}

/// The head of the table of one proxy.
pub(crate) const HEAD: [&str; 12] = [
    "fault",
    "requests",
    "failed GET",
    "failed POST (sent/unsent)",
    "cut",
    "dup",
    "lost",
    "moved",
    "steady p50 / p99 ms",
    "p99 / max ms",
    "ejected s",
    "readmitted s",
];

/// A line of the table of one proxy.
pub(crate) fn cells(entry: &Entry) -> Vec<String> {
    let summary = Summary::of(&entry.runs);
    let sum = |count: fn(&Figures) -> usize| summary.sum(count).to_string();
    let (mut ejected, mut readmitted) = ("-".to_owned(), "-".to_owned());
    if entry.fault.takes_nodes_away() {
        readmitted = summary.worst_seconds("later", |figures| figures.readmitted_after);
    }
    if entry.fault.takes_nodes_away() && entry.fault.spares_nodes() {
        ejected = summary.worst_seconds("unnoticed", |figures| figures.ejected_after);
    }
    vec![
        entry.fault.name().to_owned(),
        sum(|figures| figures.requests),
        sum(|figures| figures.failed_gets),
        format!(
            "{}/{}",
            summary.sum(|figures| figures.failed_posts_sent),
            summary.sum(|figures| figures.failed_posts_unsent)
        ),
        sum(|figures| figures.cut + figures.wrong),
        sum(|figures| figures.duplicated),
        sum(|figures| figures.lost),
        sum(|figures| figures.moved),
        format!("{} / {}", summary.ms(|figures| figures.steady.p50), summary.ms(|figures| figures.steady.p99)),
        format!("{} / {}", summary.ms(|figures| figures.struck.p99), summary.ms(|figures| figures.struck.max)),
        ejected,
        readmitted,
    ]
}

/// A line for a terminal, of a width that all lines have.
pub(crate) fn line(proxy: &str, cells: &[impl AsRef<str>]) -> String {
    let widths = HEAD.iter().enumerate().map(|(column, head)| if column == 0 { 14 } else { head.len().max(7) });
    let cells = cells.iter().zip(widths).map(|(cell, width)| format!("  {:<width$}", cell.as_ref()));
    format!("{proxy:<16}{}", cells.collect::<String>())
}

/// Lines of a table in Markdown that reads well as text too.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let body = rows[1..].iter().map(|row| line(row));
    [line(&rows[0]), line(&rule)].into_iter().chain(body).collect()
}

/// The page `benches/results/faults.md`.
pub(crate) fn page(entries: &[Entry], phases: Phases, runs: usize, machine: &str) -> String {
    let Phases { steady, fault, .. } = phases;
    let mut page = format!(
        "# Faults, side by side\n\n\
         Runs of each fault: {runs}, with {} requests each: 250 requests a second, open loop, 10 % of them POST with \
         ids, the path as the key, backends that answer after 10 ms.\n\
         The fault comes at {steady} s and stays for {fault} s. Counts are sums over all runs; of times there is the \
         median of the runs and, in parentheses, the worst.\n\n\
         {}\n",
        phases.requests(),
        machine,
    );
    let proxies: Vec<Proxy> =
        Proxy::ALL.into_iter().filter(|proxy| entries.iter().any(|entry| entry.proxy == *proxy)).collect();
    for proxy in &proxies {
        writeln!(page, "* **{}** {}: {}", proxy.name(), proxy.version(), proxy.describe()).unwrap();
    }
    page += "\n## Failed requests, and p99 / max in milliseconds while the fault is there\n\n";
    page += &side_by_side(entries, &proxies);
    for proxy in &proxies {
        writeln!(page, "\n## {}\n", proxy.name()).unwrap();
        let rows = entries.iter().filter(|entry| entry.proxy == *proxy).map(cells);
        let head = HEAD.map(str::to_owned).to_vec();
        page += &table(&[head].into_iter().chain(rows).collect::<Vec<_>>());
    }
    page + "\n" + LEGEND
}

/// A line for each fault, a column for each proxy.
pub(crate) fn side_by_side(entries: &[Entry], proxies: &[Proxy]) -> String {
    let mut rows =
        vec![std::iter::once("fault").chain(proxies.iter().map(|proxy| proxy.name())).map(str::to_owned).collect()];
    for fault in Fault::ALL {
        let cell = |proxy: &Proxy| {
            let entry = entries.iter().find(|entry| entry.proxy == *proxy && entry.fault == fault)?;
            let summary = Summary::of(&entry.runs);
            let (p99, max) = (summary.ms(|figures| figures.struck.p99), summary.ms(|figures| figures.struck.max));
            let kinds = if summary.failures() == 0 { String::new() } else { format!(" ({})", summary.kinds()) };
            Some(format!("{}{kinds}, {p99} / {max}", summary.failures()))
        };
        let cells: Option<Vec<String>> = proxies.iter().map(cell).collect();
        rows.extend(cells.map(|cells| [vec![fault.name().to_owned()], cells].concat()));
    }
    table(&rows)
}

/// When and where, a line each; to be asked before the runs load the machine.
pub(crate) fn machine() -> String {
    let said = |line: &str| {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    format!(
        "* {}, commit {}\n* CPU {}, CPUs {}, kernel {}, load average before {}\n",
        said("date -u '+%F %R UTC'"),
        said("git rev-parse --short HEAD"),
        said("sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1"),
        said("nproc"),
        said("uname -r"),
        said("cut -d' ' -f1 /proc/loadavg"),
    )
}

/// What the columns mean.
pub(crate) const LEGEND: &str = "\
* `failed` had no response begun; a POST was `sent` when a backend has received it, or the proxy says so in
  `Proxy-Status`, which of these only Ringway does.
* `cut`: a response that had begun broke off.
* `dup`: POSTs that backends received more than once.
* `lost`: POSTs with a good answer that no backend received.
* `moved`: requests for keys of nodes that were never struck, served elsewhere.
* `ejected`: from the beginning of the fault to the last request that it failed or delayed to over 250 ms, before there
  was none for 250 ms (`unnoticed` when there never was one).
* `readmitted`: from its end until every struck node served again (`later` when one did not before the run ended). Both
  are the worst of all runs.
";
