//! The command line.

use crate::fault::Fault;
use crate::proxy::Proxy;
use crate::run::Phases;
use clap::Parser;
use clap::builder::FalseyValueParser;
use std::path::PathBuf;

/// Lets proxies go through faults, and shows what their users lose. Without options: Ringway, one short run of each.
#[derive(Debug, Parser)]
#[command(name = "faults")]
pub(crate) struct Arguments {
    /// Only faults and stories with one of these words in their names, as `cargo test` filters.
    pub(crate) names: Vec<String>,
    /// Runs of 2,000 requests, ten of each fault.
    #[arg(long, env = "RINGWAY_FULL", value_parser = FalseyValueParser::new())]
    pub(crate) full: bool,
    /// The proxy: ringway, haproxy, haproxy-retrying or nginx; may be given several times.
    #[arg(long = "proxy", value_parser = proxy)]
    proxies: Vec<Proxy>,
    /// One fault by its exact name; may be given several times.
    #[arg(long = "fault", value_parser = fault)]
    faults: Vec<Fault>,
    /// Runs of each fault.
    #[arg(long)]
    runs: Option<usize>,
    /// All proxies, with long runs, and a page with the tables next to each other.
    #[arg(long)]
    pub(crate) side_by_side: bool,
    /// Where to write that page, rather than to print it.
    #[arg(long, requires = "side_by_side")]
    pub(crate) write: Option<PathBuf>,
    /// Output is never held back; taken for the sake of `cargo test -- --nocapture`.
    #[arg(long, hide = true)]
    nocapture: bool,
}

impl Arguments {
    /// The proxies to go through the faults.
    pub(crate) fn proxies(&self) -> Vec<Proxy> {
        match (&self.proxies[..], self.side_by_side) {
            ([], true) => Proxy::ALL.to_vec(),
            ([], false) => vec![Proxy::Ringway],
            (chosen, _) => chosen.to_vec(),
        }
    }

    /// The faults to go through.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let is_chosen =
            |fault: &Fault| (self.faults.is_empty() || self.faults.contains(fault)) && self.wants(fault.name());
        Fault::ALL.into_iter().filter(is_chosen).collect()
    }

    /// Whether the words let something of this name through.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|word| name.contains(word.as_str()))
    }

    /// Whether the stories that are no faults are wanted: they are when no fault is asked for by name.
    pub(crate) fn wants_story(&self, name: &str) -> bool {
        self.faults.is_empty() && self.proxies().contains(&Proxy::Ringway) && !self.side_by_side && self.wants(name)
    }

    /// How long each run is.
    pub(crate) fn phases(&self) -> Phases {
        if self.full || self.side_by_side { Phases::LONG } else { Phases::SHORT }
    }

    /// How many runs of each fault.
    pub(crate) fn runs(&self) -> usize {
        self.runs.unwrap_or(if self.full { 10 } else { 1 }).max(1)
    }
}

fn proxy(name: &str) -> Result<Proxy, String> {
    let known = || format!("there are {}", Proxy::ALL.map(Proxy::name).join(", "));
    Proxy::ALL.into_iter().find(|proxy| proxy.name() == name).ok_or_else(known)
}

fn fault(name: &str) -> Result<Fault, String> {
    let known = || format!("there are {}", Fault::ALL.map(Fault::name).join(", "));
    Fault::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(known)
}
