//! Listeners: where Envoy listens, and the route configurations behind that.

use crate::import::envoy::answers::Door;
use crate::import::envoy::answers::Routing;
use crate::import::envoy::endpoints;
use crate::import::envoy::known;
use crate::import::envoy::message::Message;
use crate::import::envoy::message::Stop;
use crate::import::envoy::routes;
use crate::import::envoy::routes::Pools;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

/// What a connection manager does with requests before their route is looked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manager {
    /// The client's address is what somebody says in `X-Forwarded-For`.
    pub(super) believes_forwarded_for: bool,
    /// Hosts are looked up without their port, whatever that is.
    pub(super) strips_ports: bool,
}

/// Route configurations that listeners name.
#[derive(Default)]
pub(super) struct NamedRoutes<'a> {
    pub(super) by_name: BTreeMap<&'a str, Message<'a>>,
    read: BTreeMap<&'a str, Rc<Routing>>,
}

/// Reads a listener. Its address is listened on when its routes lead to a pool.
pub(super) fn read<'a>(
    mut listener: Message<'a>,
    named: &mut NamedRoutes<'a>,
    pools: &mut Pools<'a>,
) -> Result<(), Stop> {
    let mut chains = listener.messages("filter_chains")?;
    chains.extend(listener.message("default_filter_chain")?);
    let mut routings = Vec::new();
    for chain in chains {
        routings.extend(read_chain(chain, named, pools)?);
    }
    for filter in listener.messages("listener_filters")? {
        read_listener_filter(filter)?;
    }
    routings.retain(|routing| routing.leads_to_pool());
    if routings.is_empty() {
        // What its routes lead to is told with them.
        return Ok(());
    }
    read_address(&mut listener)?;
    for mut additional in listener.messages("additional_addresses")? {
        read_address(&mut additional)?;
        additional.finish(&known::NOTHING);
    }
    pools.doors.extend(routings.into_iter().map(|routing| Door { listener: listener.clone(), routing }));
    listener.finish(&known::LISTENER);
    Ok(())
}

fn read_address(of: &mut Message<'_>) -> Result<(), Stop> {
    let Some(mut address) = of.message("address")? else {
        return Ok(());
    };
    let written = endpoints::address(&mut address)?;
    let parsed = written.and_then(|text| text.parse::<SocketAddr>().map_err(|_| format!("`listen` takes no {text}")));
    match parsed {
        Ok(address) => of.imported().borrow_mut().listen(address),
        Err(why) => of.leave_out("address", why),
    }
    address.finish(&known::NOTHING);
    Ok(())
}

fn read_listener_filter(mut filter: Message<'_>) -> Result<(), Stop> {
    let type_name = match filter.message("typed_config")? {
        Some(mut config) => config.type_name()?,
        None => "",
    };
    match type_name {
        "HttpInspector" | "TlsInspector" => {}
        "ProxyProtocol" => {
            let why = "Ringway reads no PROXY protocol: clients' addresses are those of the connections, or of \
                       `X-Forwarded-For` from `trusted-proxies`";
            filter.leave_out("name", why);
        }
        _ => filter.leave_out("name", "Ringway has no filters"),
    }
    Ok(())
}

/// The routes behind it.
fn read_chain<'a>(
    mut chain: Message<'a>,
    named: &mut NamedRoutes<'a>,
    pools: &mut Pools<'_>,
) -> Result<Vec<Rc<Routing>>, Stop> {
    let mut routings = Vec::new();
    for mut filter in chain.messages("filters")? {
        let config = filter.message("typed_config")?;
        let type_name = config.clone().map(|mut config| config.type_name()).transpose()?;
        match config.filter(|_| type_name == Some("HttpConnectionManager")) {
            Some(manager) => routings.extend(read_manager(manager, named, pools)?),
            None => {
                let why = "of network filters, only the HTTP connection manager has a like in Ringway";
                filter.leave_out("name", why);
            }
        }
    }
    chain.finish(&known::FILTER_CHAIN);
    Ok(routings)
}

fn read_manager<'a>(
    mut message: Message<'a>,
    named: &mut NamedRoutes<'a>,
    pools: &mut Pools<'_>,
) -> Result<Option<Rc<Routing>>, Stop> {
    let is_edge = message.flag("use_remote_address")?;
    let hops = message.integer("xff_num_trusted_hops", 0..=u32::MAX)?.unwrap_or_default();
    // With `strip_matching_host_port` only that of the listener goes, and others still count.
    message.flag("strip_matching_host_port")?;
    let strips_ports = message.flag("strip_any_host_port")?;
    let manager = Manager { believes_forwarded_for: !is_edge || hops > 0, strips_ports };
    for upgrade in message.messages("upgrade_configs")? {
        read_upgrade(upgrade)?;
    }
    let mut routing = None;
    if let Some(config) = message.message("route_config")? {
        routing = Some(Rc::new(routes::read(config, manager, pools)?));
    }
    if let Some(mut source) = message.message("rds")? {
        let name = source.text("route_config_name")?.unwrap_or_default();
        match named.read(name, manager, pools)? {
            Some(read) => routing = Some(read),
            None => source
                .leave_out("route_config_name", "these routes are not in the file; a running Envoy's dump has them"),
        }
    }
    for filter in message.messages("http_filters")? {
        read_http_filter(filter)?;
    }
    message.finish(&known::MANAGER);
    Ok(routing)
}

fn read_upgrade(mut upgrade: Message<'_>) -> Result<(), Stop> {
    let upgrades = upgrade.text("upgrade_type")?.unwrap_or_default();
    if !upgrades.eq_ignore_ascii_case("websocket") {
        upgrade.leave_out("upgrade_type", "Ringway passes upgrades of HTTP/1.1 on, and no others");
    }
    if !upgrade.messages("filters")?.is_empty() {
        upgrade.leave_out("filters", "Ringway has no filters");
    }
    Ok(())
}

fn read_http_filter(mut filter: Message<'_>) -> Result<(), Stop> {
    let type_name = match filter.message("typed_config")? {
        Some(mut config) => config.type_name()?,
        None => "",
    };
    if type_name != "Router" && !filter.flag("disabled")? {
        let why = match type_name {
            "Cors" | "Csrf" => "Ringway has no filters: let the nodes answer for origins",
            "HealthCheck" => "Ringway answers nothing itself; its own health is at `/healthz` of `[admin]`",
            "LocalRateLimit" | "RateLimit" => "Ringway limits no rates; `[limits]` bounds what a client may take",
            _ => "Ringway has no filters: where this one changes, answers or refuses requests, Ringway does not",
        };
        filter.leave_out("name", why);
    }
    Ok(())
}

impl<'a> NamedRoutes<'a> {
    /// Those that no listener named.
    pub(super) fn unnamed(self) -> impl Iterator<Item = Message<'a>> {
        let read = self.read;
        self.by_name.into_iter().filter(move |(name, _)| !read.contains_key(name)).map(|(_, config)| config)
    }

    /// Those of this name, if there are any. Of listeners that share routes, the first says how they are found.
    fn read(&mut self, name: &'a str, manager: Manager, pools: &mut Pools<'_>) -> Result<Option<Rc<Routing>>, Stop> {
        if let Some(routing) = self.read.get(name) {
            return Ok(Some(Rc::clone(routing)));
        }
        let Some(config) = self.by_name.get(name).cloned() else {
            return Ok(None);
        };
        let routing = Rc::new(routes::read(config, manager, pools)?);
        self.read.insert(name, Rc::clone(&routing));
        Ok(Some(routing))
    }
}
