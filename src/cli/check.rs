//! `ringway check`: everything that is wrong with a config file, and what to expect of a good one.

use crate::cli::change_words;
use crate::cli::failure::Failure;
use crate::cli::offline;
use crate::cli::output::Output;
use crate::cli::output::count;
use crate::cluster::log::History;
use crate::cluster::node::Node;
use crate::config::Config;
use crate::control::pool_at::PoolAt;
use crate::control::settings::PoolConfig;
use crate::placement::PlacementSettings;
use crate::store;
use crate::store::StoreError;
use clap::Args;
use std::collections::BTreeMap;
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
}

/// Prints mistakes, or the result.
pub(super) fn run(args: &CheckArgs, out: &mut Output) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let histories = match store::read_only(&config.store) {
        Ok(histories) => histories,
        Err(error @ StoreError::Corrupt { .. }) => return Err(Failure::Failed(error.to_string())),
        Err(error) => {
            eprintln!("warning: the store cannot be compared with the file: {error}");
            Vec::new()
        }
    };
    for pool in &config.pools {
        let history = histories.iter().find(|history| history.pool() == pool.settings.name);
        warnings(pool, history).iter().for_each(|warning| eprintln!("warning: {warning}"));
    }
    if args.effective {
        return out.text(&config.to_toml());
    }
    let nodes: usize = config.pools.iter().map(|pool| pool.source.membership.nodes().len()).sum();
    let (pools, nodes) = (count(config.pools.len(), "pool"), count(nodes, "node"));
    out.line(format_args!("{}: ok, {pools}, {nodes}", args.config.display()))?;
    for pool in &config.pools {
        out.line(expectation(pool)?)?;
    }
    Ok(())
}

fn warnings(pool: &PoolConfig, history: Option<&History>) -> Vec<String> {
    let name = &pool.settings.name;
    let mut warnings = Vec::new();
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
fn expectation(pool: &PoolConfig) -> Result<String, Failure> {
    let (settings, membership) = (&pool.settings, &pool.source.membership);
    let at = PoolAt::build(&settings.name, 1, membership.clone(), settings.key.clone())?;
    // With every setting, unlike elsewhere: whoever checks a file wants to see what is in force.
    let kind = match membership.placement {
        PlacementSettings::Ring { vnodes } => format!("ring vnodes={vnodes}"),
    };
    let nodes = count(membership.nodes().len(), "node");
    let even = match offline::table(settings, at).imbalance_ratio() {
        0.0 => "no node takes keys, so every request is answered with 503".to_owned(),
        ratio => format!("largest share {ratio:.2} x fair"),
    };
    Ok(format!("pool {}: {nodes}, {kind}, {even}", settings.name))
}
