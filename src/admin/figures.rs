//! How the proxy does, as a document, and that document for all who watch it, made once for those who look together.

use crate::admin::api::Api;
use crate::admin::model::PhaseName;
use crate::admin::model::ReloadState;
use crate::admin::model::RoleName;
use crate::admin::model::Status;
use crate::admin::view;
use crate::proxy::table::RoutingTable;
use crate::proxy::worker::Phase;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

/// How the proxy does, for a caller of this role. With `pool`, only that one comes with its nodes.
pub(crate) fn status(api: &Api, role: RoleName, pool: Option<&str>) -> Status {
    let table = api.controller.table();
    let with_nodes = |name: &str| pool.is_none_or(|pool| pool == name);
    let pools = table.pools().iter().filter_map(|pool| {
        let name = &pool.settings.name;
        api.controller.record(name, |record| view::status(pool, record, with_nodes(name)))
    });
    let stats = api.metrics.server();
    let connections = stats.stripes.level(|stripe| &stripe.connections);
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role,
        phase: phase_name(api.phase()),
        uptime_seconds: api.started.elapsed().as_secs_f64(),
        workers: api.workers,
        store: api.store.name().to_owned(),
        connections: u64::try_from(connections).unwrap_or_default(),
        reload: ReloadState {
            successful: stats.reload_successful.load(Relaxed) == 1,
            success_timestamp_seconds: stats.reload_success_seconds.load(Relaxed),
        },
        pools: pools.collect(),
    }
}

/// The documents that were made last, as JSON, by the pool whose nodes they hold and the role that they are for.
#[derive(Default)]
pub(crate) struct Figures(Mutex<HashMap<(Option<String>, RoleName), Made>>);

struct Made {
    at: Instant,
    /// The table that it is about: after a change nobody wants to see what was before it.
    of: Weak<RoutingTable>,
    text: Bytes,
}

impl Figures {
    /// What [`status`] says, at most [`FRESH`] old.
    pub(crate) fn text(&self, api: &Api, role: RoleName, pool: Option<&str>) -> Bytes {
        let table = Arc::downgrade(&api.controller.table());
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (pool.map(str::to_owned), role);
        let last = made.get(&key).filter(|last| last.at.elapsed() < FRESH && last.of.ptr_eq(&table));
        if let Some(last) = last {
            return last.text.clone();
        }
        // Also forgets the pools that nobody looks at any more.
        made.retain(|_, last| last.at.elapsed() < FRESH);
        let text =
            serde_json::to_vec(&status(api, role, pool)).expect("a status holds strings, numbers and lists only");
        let text = Bytes::from(text);
        made.insert(key, Made { at: Instant::now(), of: table, text: text.clone() });
        text
    }
}

fn phase_name(phase: Phase) -> PhaseName {
    match phase {
        Phase::Starting => PhaseName::Starting,
        Phase::Running => PhaseName::Running,
        Phase::Draining => PhaseName::Draining,
        Phase::HandedOver => PhaseName::HandedOver,
        Phase::Closing => PhaseName::Closing,
        Phase::Ended => PhaseName::Ended,
    }
}

/// A document as old as this is made anew: a little below the least time between two that one watcher gets.
const FRESH: Duration = Duration::from_millis(900);
