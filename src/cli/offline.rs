//! What a proxy would serve, worked out from its config file and store without one running.

use crate::cli::failure::Failure;
use crate::cli::target::PoolArg;
use crate::cluster::log::History;
use crate::config::Config;
use crate::control::pool_at::PoolAt;
use crate::control::settings::PoolConfig;
use crate::proxy::settings::PoolSettings;
use crate::proxy::table::PoolParts;
use crate::proxy::table::PoolTable;
use crate::store;
use std::path::Path;
use std::sync::Arc;

/// A config, and the histories of its store.
pub(super) struct Offline {
    /// The config file.
    pub(super) config: Config,
    histories: Vec<History>,
}

impl Offline {
    /// Reads a config file and, without changing it, its store.
    pub(super) fn open(file: &Path) -> Result<Offline, Failure> {
        let config = Config::load(file)?;
        let histories = store::read_only(&config.store);
        let histories = histories.map_err(|error| Failure::Failed(format!("cannot read the store: {error}")))?;
        Ok(Offline { config, histories })
    }

    /// The pool that is asked for.
    pub(super) fn pool(&self, asked: &PoolArg) -> Result<&PoolConfig, Failure> {
        let names = self.config.pools.iter().map(|pool| pool.settings.name.as_str());
        let name = asked.choose(names)?;
        self.config.pool(&name).ok_or_else(|| Failure::Usage(format!("there is no pool `{name}`")))
    }

    /// What the store knows of a pool; nothing before the pool was first served.
    pub(super) fn stored(&self, pool: &PoolConfig) -> Option<&History> {
        self.histories.iter().find(|history| history.pool() == pool.settings.name)
    }

    /// The pool as a proxy would serve it, or as it was at an epoch.
    pub(super) fn pool_at(&self, pool: &PoolConfig, epoch: Option<u64>) -> Result<PoolAt, Failure> {
        let followed = pool.follow(self.stored(pool).cloned(), 0);
        let unfit =
            |why| Failure::Failed(format!("the file and the store do not fit: pool {}: {why}", pool.settings.name));
        let (history, _) = followed.map_err(unfit)?;
        let epoch = epoch.unwrap_or(history.epoch());
        let membership = history.at(epoch).map_err(|error| Failure::Usage(error.to_string()))?;
        let settings = &pool.settings;
        Ok(PoolAt::build(&settings.name, epoch, membership, settings.key.clone())?)
    }
}

/// The pool as a proxy holds it, with the figures that are derived from its placement.
pub(super) fn table(settings: &PoolSettings, at: PoolAt) -> PoolTable {
    let parts = PoolParts {
        settings: Arc::new(settings.clone()),
        epoch: at.epoch,
        membership: at.membership,
        shares: at.placement.shares(),
        placement: at.placement,
        fingerprint: at.fingerprint,
        moved_ratio: 0.0,
        gate: Arc::default(),
        tls: None,
    };
    PoolTable::next(parts, None, 1)
}
