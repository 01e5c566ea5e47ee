//! `listen`: where clients connect, and what they speak there before HTTP.

use crate::section::Mistake;
use crate::section::Section;
use crate::section::Span;
use crate::section::Value;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

/// One address that clients connect to: `"IP:port"`, or a table where there is more to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// `address`
    pub address: SocketAddr,
    /// `tls`: whether clients speak TLS. Default false.
    pub is_tls: bool,
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
            return Some(Listen { address: value.parse(parse_listen)?, is_tls: false });
        }
        value.section(|section| {
            let address = section.required("address", "address = \":8443\"");
            let is_tls = section.boolean("tls", false);
            Some(Listen { address: address?.parse(parse_listen)?, is_tls })
        })?
    }

    /// As it is written.
    pub(super) fn print(&self) -> toml::Value {
        let address = self.address.to_string();
        if self.is_plain() {
            return address.into();
        }
        let settings = [("address", address.into()), ("tls", self.is_tls.into())];
        toml::Table::from_iter(settings.map(|(name, value): (&str, toml::Value)| (name.to_owned(), value))).into()
    }

    /// Whether HTTP is the first thing that clients speak.
    pub fn is_plain(&self) -> bool {
        !self.is_tls
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
