//! `listen`: where clients connect, and what they speak there before HTTP.

use crate::cluster::networks::parse_network;
use crate::section::Mistake;
use crate::section::Section;
use crate::section::Span;
use crate::section::Value;
use ipnet::IpNet;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

/// One address that clients connect to: `"IP:port"`, or a table where there is more to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// `address`
    pub address: SocketAddr,
    /// `tls`: whether clients speak TLS. Default false.
    pub is_tls: bool,
    /// `proxy-protocol`: networks of load balancers that say who the client is; nobody else may connect. Default: no
    /// such thing is spoken.
    pub proxy_protocol: Option<Vec<IpNet>>,
}

impl Listen {
    /// Reads `listen`, one or a list.
    pub(super) fn read_all(section: &mut Section<'_>) -> Option<Vec<Listen>> {
        let written = section.required("listen", "listen = \":8080\"")?.one_or_more();
        if written.is_empty() {
            let message = "`listen` is empty; name an address to listen on, such as \":8080\"";
            section.report(Mistake::new(section.place_of("listen"), message));
        }
        let placed = |value: &Value<'_>| Some((Listen::read(value)?, value.place()));
        let listen: Vec<(Listen, Span)> = written.iter().filter_map(placed).collect();
        // Port 0 asks the system for a free port, a new one each time.
        let fixed = listen.iter().filter(|(listen, _)| listen.address.port() != 0);
        let fixed: Vec<_> = fixed.map(|(listen, place)| (listen.address, *place)).collect();
        section.report_repeated(&fixed, |address| format!("`listen` names {address} twice; remove one"));
        Some(listen.into_iter().map(|(listen, _)| listen).collect())
    }

    fn read(value: &Value<'_>) -> Option<Listen> {
        if !value.is_table() {
            return Some(Listen { address: value.parse(parse_listen)?, is_tls: false, proxy_protocol: None });
        }
        value.section(|section| {
            let address = section.required("address", "address = \":8443\"");
            let is_tls = section.boolean("tls", false);
            let balancers = section.value("proxy-protocol").and_then(|list| list.list());
            let proxy_protocol =
                balancers.map(|list| list.iter().filter_map(|network| network.parse(parse_network)).collect());
            Some(Listen { address: address?.parse(parse_listen)?, is_tls, proxy_protocol })
        })?
    }

    /// As it is written.
    pub(super) fn print(&self) -> toml::Value {
        let address = self.address.to_string();
        if self.is_plain() {
            return address.into();
        }
        let balancers = self.proxy_protocol.iter().map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>());
        let balancers = balancers.map(|list| ("proxy-protocol", list.into()));
        let settings = [("address", address.into()), ("tls", self.is_tls.into())].into_iter().chain(balancers);
        toml::Table::from_iter(settings.map(|(name, value): (&str, toml::Value)| (name.to_owned(), value))).into()
    }

    /// Whether HTTP is the first thing that clients speak.
    pub fn is_plain(&self) -> bool {
        !self.is_tls && self.proxy_protocol.is_none()
    }
}

/// Parses `IP:port`, `[IPv6]:port`, or `:port` for every IPv4 address of the machine.
pub fn parse_listen(written: &str) -> Result<SocketAddr, String> {
    if let Some(port) = written.strip_prefix(':').and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    written.parse().map_err(|_| {
        format!(
            "`{written}` is not an address to listen on; write IP:port such as \"127.0.0.1:8080\", or \
             \":8080\""
        )
    })
}
