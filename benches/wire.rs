//! The table of `tests/wire` against other programs, side by side. `benches/wire` starts them, and this with the port
//! of their node and where each of them listens:
//!
//!   cargo bench --profile test --bench wire -- --node 8000 nginx=127.0.0.1:8001,127.0.0.1:8002 ...
//!
//! The second address is that for HTTP/2. Prints Markdown.

use crate::suite::finding::Grade;
use crate::suite::node::Node;
use crate::suite::report::Tally;
use crate::suite::report::tallies;
use crate::suite::row::Row;
use crate::suite::rows;
use crate::suite::run::Outcome;
use crate::suite::run::Proxy;
use crate::suite::run::run;
use std::env;
use std::process::ExitCode;

#[path = "../tests/support/frames.rs"]
mod frames;
#[allow(dead_code, reason = "the test uses all of it")]
#[path = "../tests/wire/suite/mod.rs"]
mod suite;

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some((port, programs)) = parse(&arguments) else {
        eprintln!("usage: wire --node PORT NAME=HTTP1,HTTP2...");
        return ExitCode::from(2);
    };
    let node = Node::start(port);
    let went: Vec<Entrant> = programs.into_iter().map(|(name, proxy)| Entrant::take(name, proxy, &node)).collect();
    print_tallies(&went);
    went.iter().for_each(print_hard);
    ExitCode::SUCCESS
}

/// A program, and how each row went with it.
struct Entrant {
    name: String,
    went: Vec<(Row, Outcome)>,
}

impl Entrant {
    /// Takes a program through all rows.
    fn take(name: String, proxy: Proxy, node: &Node) -> Entrant {
        eprintln!("{name}");
        let went = all_rows().into_iter().map(|row| {
            let outcome = run(&row, proxy, node);
            (row, outcome)
        });
        Entrant { name, went: went.collect() }
    }
}

/// All rows that need nothing of a proxy but that it stands before the node.
fn all_rows() -> Vec<Row> {
    let requests = [rows::framing::rows(), rows::bodies::rows(), rows::heads::rows(), rows::targets::rows()];
    let responses = [rows::responses::rows(), rows::own::rows()];
    let http2 = [rows::http2::rows(), rows::http2::of_responses(rows::responses::rows())];
    requests.into_iter().chain(responses).chain(http2).flatten().collect()
}

fn parse(arguments: &[String]) -> Option<(u16, Vec<(String, Proxy)>)> {
    let [flag, port, programs @ ..] = arguments else { return None };
    let program = |text: &String| {
        let (name, addresses) = text.split_once('=')?;
        let (http1, http2) = addresses.split_once(',')?;
        Some((name.to_owned(), Proxy { http1: http1.parse().ok()?, http2: http2.parse().ok()? }))
    };
    let programs = programs.iter().map(program).collect::<Option<Vec<_>>>()?;
    Some((port.parse().ok().filter(|_| flag == "--node")?, programs))
}

fn print_tallies(went: &[Entrant]) {
    let tallied: Vec<_> = went.iter().map(|entrant| tallies(&entrant.went)).collect();
    let names: Vec<&str> = went.iter().map(|entrant| entrant.name.as_str()).collect();
    println!("| class | rows | {} |", names.join(" | "));
    println!("|---|---:|{}", "---:|".repeat(names.len()));
    let classes = tallied.first().map(|(classes, _)| classes.len()).unwrap_or_default();
    for index in 0..classes {
        let row: Vec<Tally> = tallied.iter().map(|(classes, _)| classes[index].1).collect();
        print_row(tallied[0].0[index].0, &row);
    }
    print_row("**all**", &tallied.iter().map(|(_, all)| *all).collect::<Vec<_>>());
}

fn print_row(title: &str, tallies: &[Tally]) {
    let cells: Vec<String> = tallies
        .iter()
        .map(|tally| {
            let Tally { clean, lenient, hard } = tally;
            format!("{clean} / {lenient} / {hard}")
        })
        .collect();
    let rows = tallies.first().map_or(0, |tally| tally.clean + tally.lenient + tally.hard);
    println!("| {title} | {rows} | {} |", cells.join(" | "));
}

/// Lists the rows that went hard, with what was found.
fn print_hard(entrant: &Entrant) {
    let hard: Vec<_> = entrant.went.iter().filter(|(_, outcome)| outcome.grade() == Grade::Hard).collect();
    println!("\n## {}: {} hard\n", entrant.name, hard.len());
    for (row, outcome) in hard {
        let findings = outcome.findings.iter().filter(|finding| finding.grade == Grade::Hard);
        let findings: Vec<String> = findings.map(|finding| cut(&finding.what)).collect();
        println!("* {}, `{:?}`: {}", row.class, row.name, findings.join("; "));
    }
}

/// As much of a text as a reader can use.
fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(160).collect();
    if cut.len() < text.len() {
        cut.push_str("...");
    }
    cut
}
