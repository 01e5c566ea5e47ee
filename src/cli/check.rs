//! `ringway check`: everything that is wrong with a config file, and what to expect of a good one.

use crate::admin::tls::AdminTls;
use crate::cli::change_words;
use crate::cli::failure::Failure;
use crate::cli::offline;
use crate::cli::output::Output;
use crate::cli::output::count;
use crate::cluster::log::History;
use crate::cluster::node::Node;
use crate::config::Config;
use crate::config::ConfigErrors;
use crate::control::pool_at::PoolAt;
use crate::control::settings::PoolConfig;
use crate::placement::PlacementSettings;
use crate::proxy::files;
use crate::section::Report;
use crate::store;
use crate::store::StoreError;
use crate::tls::node::NodeTls;
use crate::tls::server::ALPN_CLIENTS;
use crate::tls::server::ServerTls;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Display;
use std::fmt::Formatter;
use std::path::PathBuf;

/// Say everything that is wrong with a config file
///
/// Shows every mistake with its line, and says what to expect of a file without mistakes. Exit code 2 when the file
/// cannot be used. Warnings go to standard error and do not count.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway check -c /etc/ringway/ringway.toml
  ringway check -c ringway.toml --effective      every setting with its value")]
pub(super) struct CheckArgs {
    /// Config file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Print every setting with the value it has in the end, as a config file
    #[arg(long)]
    effective: bool,
    /// One JSON object: `ok`, the mistakes with line and column, the warnings, the pools
    #[arg(long, conflicts_with = "effective")]
    json: bool,
}

/// The result for programs.
#[derive(Default, Serialize)]
struct Checked {
    file: String,
    ok: bool,
    mistakes: Vec<Report>,
    /// What is wrong with the files that it names.
    files: Vec<String>,
    warnings: Vec<String>,
    pools: Vec<Expectation>,
}

/// What to expect of one pool.
#[derive(Serialize)]
struct Expectation {
    pool: String,
    nodes: usize,
    placement: PlacementSettings,
    /// The largest share over what its node's weight entitles it to; 0 without nodes.
    imbalance_ratio: f64,
}

/// Prints mistakes, or the result.
pub(super) fn run(args: &CheckArgs, out: &mut Output) -> Result<(), Failure> {
    let file = args.config.display().to_string();
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(errors) => {
            if let (true, ConfigErrors::Mistakes(mistakes)) = (args.json, &errors) {
                out.json(&Checked { file, mistakes: mistakes.reports(), ..Checked::default() })?;
            }
            return Err(errors.into());
        }
    };
    let files = unusable_files(&config);
    if !files.is_empty() {
        let message = files.iter().map(|why| format!("error: {file}: {why}\n")).collect();
        if args.json {
            out.json(&Checked { file, files, ..Checked::default() })?;
        }
        return Err(Failure::Config(message));
    }
    let warnings = all_warnings(&config)?;
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    if args.effective {
        return out.text(&config.to_toml());
    }
    let pools = config.pools.iter().map(expectation).collect::<Result<Vec<_>, _>>()?;
    if args.json {
        return out.json(&Checked { file, ok: true, warnings, pools, ..Checked::default() });
    }
    let nodes: usize = pools.iter().map(|pool| pool.nodes).sum();
    out.line(format_args!("{file}: ok, {}, {}", count(pools.len(), "pool"), count(nodes, "node")))?;
    pools.iter().try_for_each(|pool| out.line(pool))
}

/// What is wrong with the certificates, keys and CAs that the config names, as its reader would have it too.
fn unusable_files(config: &Config) -> Vec<String> {
    let of_listeners = ServerTls::load(&config.server.tls.server, &ALPN_CLIENTS, None).err();
    let of_operators = config.admin.tls.as_ref().and_then(|tls| AdminTls::load(tls).err());
    let of_pools = config.pools.iter().filter_map(|pool| {
        let name = &pool.settings.name;
        NodeTls::load(pool.settings.tls.as_ref()?, pool.settings.protocol.alpn(), None)
            .err()
            .map(|why| format!("pool {name}: {why}"))
    });
    of_listeners.iter().map(ToString::to_string).chain(of_operators).chain(of_pools).collect()
}

fn all_warnings(config: &Config) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    let histories = match store::read_only(&config.store) {
        Ok(histories) => histories,
        Err(error @ StoreError::Corrupt { .. }) => return Err(Failure::Failed(error.to_string())),
        Err(error) => {
            found.push(format!("the store cannot be compared with the file: {error}"));
            Vec::new()
        }
    };
    found.extend(files::warning(&config.server));
    for pool in &config.pools {
        let history = histories.iter().find(|history| history.pool() == pool.settings.name);
        found.extend(warnings(pool, history));
    }
    Ok(found)
}

fn warnings(pool: &PoolConfig, history: Option<&History>) -> Vec<String> {
    let name = &pool.settings.name;
    let mut warnings: Vec<String> = pool.settings.warning().into_iter().collect();
    for (address, nodes) in shared_addresses(pool.source.membership.nodes()) {
        warnings.push(format!(
            "pool {name}: nodes {} have one address, {address}; each would get its own share of the keys",
            nodes.join(" and ")
        ));
    }
    let drift = history.map(|history| (history.epoch(), pool.drift(history)));
    if let Some((epoch, changes)) = drift.filter(|(_, changes)| !changes.is_empty()) {
        warnings.push(format!(
            "pool {name}: the store is at epoch {epoch} and differs from `initial-nodes` and `placement`, which count \
             at epoch 1 only; from the file to the store: {}",
            change_words::print(&changes)
        ));
    }
    warnings
}

/// Addresses that several nodes have, with the names of these.
fn shared_addresses(nodes: &[Node]) -> Vec<(String, Vec<&str>)> {
    let mut by_address: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for node in nodes {
        by_address.entry(node.address.to_string()).or_default().push(node.name.as_str());
    }
    by_address.into_iter().filter(|(_, names)| names.len() > 1).collect()
}

/// How even the keys will be spread: the largest share beside what its node's weight entitles it to.
fn expectation(pool: &PoolConfig) -> Result<Expectation, Failure> {
    let (settings, membership) = (&pool.settings, &pool.source.membership);
    let at = PoolAt::build(&settings.name, 1, membership.clone(), settings.key.clone())?;
    Ok(Expectation {
        pool: settings.name.clone(),
        nodes: membership.nodes().len(),
        placement: membership.placement,
        imbalance_ratio: offline::table(settings, at).imbalance_ratio(),
    })
}

impl Display for Expectation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // With every setting, unlike elsewhere: whoever checks a file wants to see what is in force.
        write!(f, "pool {}: {}, {}, ", self.pool, count(self.nodes, "node"), self.placement.in_full())?;
        match self.imbalance_ratio {
            0.0 => write!(f, "no node takes keys, so every request is answered with 503"),
            ratio => write!(f, "largest share {ratio:.2} x fair"),
        }
    }
}
