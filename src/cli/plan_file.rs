//! `ringway plan -c NEW --against OLD`: what an edited file would move, pool by pool.

use crate::admin::model::PoolDetail;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::plan;
use crate::cli::plan::PlanArgs;
use crate::cluster::membership::Membership;
use crate::config::Config;
use crate::control::pool_at::Plan;
use crate::control::pool_at::PoolAt;
use crate::control::settings::Owner;
use crate::control::settings::PoolConfig;
use crate::placement::seed::Seed;
use std::path::Path;

/// Compares the nodes of two files, or of a file and the running proxy. Pools that are on one side only are named, on
/// standard error.
pub(super) fn run(args: &PlanArgs, against: &str, out: &mut Output) -> Result<(), Failure> {
    let file = args.target.file().ok_or_else(|| Failure::Usage("give the edited file with -c".to_owned()))?;
    let new = Config::load(file)?;
    let old = match against {
        "running" => Old::Running(args.target.live.admin.client()?),
        file => Old::File(Box::new(Config::load(Path::new(file))?)),
    };
    let old_names = old.pool_names()?;
    let mut pools: Vec<&PoolConfig> = new.pools.iter().collect();
    if args.target.pool().is_given() {
        let name = args.target.pool().choose(new.pools.iter().map(|pool| pool.settings.name.as_str()))?;
        pools.retain(|pool| pool.settings.name == name);
    } else {
        let gone = old_names.iter().filter(|name| new.pool(name).is_none());
        gone.for_each(|name| eprintln!("pool {name} is not in {} any more", file.display()));
    }
    for pool in pools {
        let name = &pool.settings.name;
        if !old_names.contains(name) {
            eprintln!("pool {name} is new");
            continue;
        }
        compare(args, &old, pool, out)?;
    }
    Ok(())
}

/// What to compare with.
enum Old {
    File(Box<Config>),
    Running(Client),
}

impl Old {
    fn pool_names(&self) -> Result<Vec<String>, Failure> {
        match self {
            Old::File(config) => Ok(config.pools.iter().map(|pool| pool.settings.name.clone()).collect()),
            Old::Running(client) => Ok(client.pools()?.into_iter().map(|pool| pool.pool).collect()),
        }
    }

    /// The pool as it was, and how its keys were found.
    fn pool_at(&self, new: &PoolConfig) -> Result<(PoolAt, String), Failure> {
        let name = &new.settings.name;
        match self {
            Old::File(config) => {
                let pool = config.pool(name).ok_or_else(|| Failure::Usage(format!("there is no pool `{name}`")))?;
                let (membership, key) = (pool.source.membership.clone(), pool.settings.key.clone());
                let described = key.describe();
                Ok((PoolAt::build(name, FIRST_EPOCH, membership, key)?, described))
            }
            Old::Running(client) => {
                let detail: PoolDetail = client.get(&format!("/v1/pools/{name}"))?;
                let membership = Membership::with_nodes(detail.placement, detail.nodes)?;
                let own = new.settings.key.seed();
                // Another seed is not known here, but that it is another is all that counts.
                let seed = match detail.seed_digest {
                    Some(digest) if own.map(Seed::digest) != Some(digest) => Some(Seed::standing_in_for(digest)),
                    Some(_) => own,
                    None => None,
                };
                let key = new.settings.key.clone().seeded(seed);
                let mut at = PoolAt::build(name, detail.epoch, membership, key)?;
                at.fingerprint = detail.fingerprint;
                Ok((at, detail.key))
            }
        }
    }
}

fn compare(args: &PlanArgs, old: &Old, new: &PoolConfig, out: &mut Output) -> Result<(), Failure> {
    let (before, key_before) = old.pool_at(new)?;
    let (name, key) = (&new.settings.name, &new.settings.key);
    let after = PoolAt::build(name, before.epoch, new.source.membership.clone(), key.clone())?;
    if key_before != key.describe() {
        eprintln!(
            "pool {name}: keys were read from {key_before} and now from {}; requests whose key changes by that move \
             too",
            key.describe()
        );
    }
    if before.key.seed() != key.seed() {
        eprintln!("pool {name}: keys were hashed with another seed, or one of both has none: every key is placed anew");
    }
    let plan = before.plan_to(&after);
    if args.json {
        return out.json(&plan);
    }
    out.bold(format_args!("pool {name}"))?;
    plan::show(&plan, &next(args, old, new, (&before, &plan)), out)
}

fn next(args: &PlanArgs, old: &Old, new: &PoolConfig, (before, plan): (&PoolAt, &Plan)) -> String {
    let changes = before.membership.changes_to(&new.source.membership);
    match (new.source.owner, old) {
        _ if changes.is_empty() && before.key.seed() == new.settings.key.seed() => "nothing to do".to_owned(),
        (Owner::Store, _) if changes.is_empty() => PUT_IN_PLACE.to_owned(),
        (Owner::File, _) => PUT_IN_PLACE.to_owned(),
        (Owner::Store, Old::Running(_)) => {
            let flags = [args.target.live.admin.flags(), vec!["--pool".to_owned(), new.settings.name.clone()]];
            plan::apply_it(&flags.concat(), plan, &changes)
        }
        (Owner::Store, Old::File(_)) => {
            "`initial-nodes` count for an empty store only; to change a running pool: --against running".to_owned()
        }
    }
}

const PUT_IN_PLACE: &str = "to do it:  put the file in place and reload it with SIGHUP";

/// What a file alone stands for: a pool that was never changed.
const FIRST_EPOCH: u64 = 1;
