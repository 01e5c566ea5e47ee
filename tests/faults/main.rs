//! The fault suite: nodes die, hang, vanish and flap while a proxy serves, and what its users lose is counted.
//!
//! It has a `main` of its own, for three roles: started by cargo it goes into namespaces of its own ([`lab`]); inside
//! it lets each proxy go through each fault; and started by itself it is a backend.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod arguments;
mod backend;
mod fault;
mod figures;
mod harness;
mod lab;
mod load;
mod malformed;
#[path = "../support/namespaces.rs"]
mod namespaces;
mod node;
mod promises;
mod proxy;
mod report;
mod rolling;
mod run;
mod summary;
mod watch;

use crate::arguments::Arguments;
use crate::harness::story::Story;
use crate::proxy::Proxy;
use crate::report::Entry;
use crate::rolling::OnDown;
use clap::Parser;
use std::fs;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().peekable();
    let program = arguments.next().expect("a program has a name");
    match arguments.peek().map(String::as_str) {
        Some(backend::ROLE) => backend::main(arguments.skip(1)),
        Some(lab::INSIDE) => {
            return go_through(&Arguments::parse_from(std::iter::once(program).chain(arguments.skip(1))));
        }
        _ => {
            // Mistakes are better told before the namespaces are there.
            Arguments::parse();
            panic!("unshare: {}; tests/run installs what the faults need", lab::enter(arguments));
        }
    }
    ExitCode::SUCCESS
}

/// Everything that is asked for, and at the end what was not as promised.
fn go_through(arguments: &Arguments) -> ExitCode {
    let story = Story::begin("faults");
    lab::set_up();
    let (machine, mut broken) = (report::machine(), Vec::new());
    let entries = faults(&story, arguments, &mut broken);
    if arguments.side_by_side {
        publish(&entries, arguments, &machine);
    }
    stories(&story, arguments, &mut broken);
    for promise in &broken {
        eprintln!("BROKEN  {promise}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lets each proxy go through each fault, one after the other.
fn faults(story: &Story, arguments: &Arguments, broken: &mut Vec<String>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for fault in arguments.faults() {
        for proxy in arguments.proxies() {
            let run = |_| run::run(story, proxy, fault, arguments.phases());
            let entry = Entry { proxy, fault, runs: (0..arguments.runs()).map(run).collect() };
            if proxy == Proxy::Ringway {
                broken.extend(entry.runs.iter().flat_map(|figures| promises::broken(fault, figures)));
            }
            entries.push(entry);
            show(&entries);
        }
    }
    entries
}

/// The last line of the table, because all of them take minutes.
fn show(entries: &[Entry]) {
    if let [_] = entries {
        println!("{}", report::line("proxy", &report::HEAD));
    }
    if let Some(entry) = entries.last() {
        println!("{}", report::line(entry.proxy.name(), &report::cells(entry)));
    }
}

/// What is checked of Ringway alone.
fn stories(story: &Story, arguments: &Arguments, broken: &mut Vec<String>) {
    let mut tell = |name: &str, run: &dyn Fn() -> Result<String, Vec<String>>| {
        if arguments.wants_story(name) {
            match run() {
                Ok(shown) => println!("{name}: {shown}"),
                Err(promises) => broken.extend(promises),
            }
        }
    };
    tell(malformed::NAME, &|| malformed::run(story));
    for on_down in OnDown::ALL {
        tell(on_down.name(), &|| rolling::run(story, on_down));
    }
}

fn publish(entries: &[Entry], arguments: &Arguments, machine: &str) {
    let page = report::page(entries, arguments.phases(), arguments.runs(), machine);
    match &arguments.write {
        Some(path) => fs::write(path, page).unwrap(),
        None => println!("{page}"),
    }
}
