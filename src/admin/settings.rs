//! `[admin]` and `[metrics]` of the config file.

use crate::proxy::listen::parse_listen;
use crate::proxy::settings::parse_match_host;
use crate::proxy::timeouts::TIMEOUTS;
use crate::section::Mistake;
use crate::section::Printer;
use crate::section::Section;
use crate::section::parse_path;
use crate::sockets::address::ListenAddress;
use crate::tls::settings::ServerFiles;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// Where the operator's API listens, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// `listen`; default 127.0.0.1:9080.
    pub listen: ListenAddress,
    /// `tls = { certificate, key, client-ca }`: whether it speaks TLS, and whose certificates clients must show there.
    /// Default: plain HTTP.
    pub tls: Option<ServerFiles>,
    /// `token-file`: holds the bearer token that may do everything. This or a `client-ca` is required unless only this
    /// machine can connect.
    pub token_file: Option<PathBuf>,
    /// `read-token-file`: holds the bearer token that may only read.
    pub read_token_file: Option<PathBuf>,
    /// `hosts`: names besides those of this machine by which requests without a token may call the API.
    pub hosts: Vec<String>,
    /// What its clients may take.
    pub limits: AdminLimits,
    /// `[metrics] listen`: a listener that serves only `/metrics`.
    pub metrics_listen: Option<SocketAddr>,
}

impl AdminSettings {
    /// Reads `[admin]` and `[metrics]`.
    pub fn read(section: &mut Section<'_>) -> AdminSettings {
        let metrics_listen = section.section("metrics", |metrics| metrics.parse("listen", parse_listen));
        section.section("admin", |section| {
            let hosts = section.value("hosts").and_then(|list| list.list()).unwrap_or_default();
            let mut asks_clients = false;
            let tls = section.value("tls").and_then(|tls| {
                tls.section(|tls| {
                    asks_clients = tls.gives("client-ca");
                    ServerFiles::read_one(tls)
                })?
            });
            let admin = AdminSettings {
                listen: section.parse("listen", str::parse).unwrap_or(ListenAddress::DEFAULT),
                tls,
                token_file: section.parse("token-file", parse_path).map(PathBuf::from),
                read_token_file: section.parse("read-token-file", parse_path).map(PathBuf::from),
                hosts: hosts.iter().filter_map(|host| host.parse(parse_host)).collect(),
                limits: AdminLimits::read(section),
                metrics_listen,
            };
            if !admin.listen.is_local() && !section.gives("token-file") && !asks_clients {
                let message = unguarded(&admin.listen);
                section.report(Mistake::new(section.place_of("listen"), message));
            }
            if section.gives("tls") && matches!(admin.listen, ListenAddress::Unix(_)) {
                section.report(Mistake::new(section.place_of_key("tls"), ON_A_UNIX_SOCKET));
            }
            admin
        })
    }

    /// Whether a stranger is asked for something that only operators have.
    pub(crate) fn is_guarded(&self) -> bool {
        self.token_file.is_some() || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }

    /// Writes `[admin]` and `[metrics]`.
    pub fn print(&self, printer: &mut Printer) {
        printer.table("[admin]");
        printer.set("listen", self.listen.to_string());
        if let Some(tls) = &self.tls {
            printer.set_inline("tls", tls.print_one());
        }
        printer.set_some("token-file", self.token_file.as_deref().map(text));
        printer.set_some("read-token-file", self.read_token_file.as_deref().map(text));
        printer.set("hosts", self.hosts.clone());
        self.limits.print(printer);
        printer.table("[metrics]");
        printer.set_some("listen", self.metrics_listen.map(|listen| listen.to_string()));
    }
}

/// What clients of one listener of the API may take, that of `[metrics]` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminLimits {
    /// `max-connections` 256: connections at a time; more wait in the listen backlog.
    pub max_connections: usize,
    /// `handshake-timeout` 5s: from the connection to the end of its handshake of TLS.
    pub handshake_timeout: Duration,
    /// `head-timeout` 10s: to send a head, and to begin the next one on a kept connection.
    pub head_timeout: Duration,
    /// `body-timeout` 10s: to send a body.
    pub body_timeout: Duration,
    /// `write-timeout` 30s: a client that takes nothing of its answer. Scrapes come more often.
    pub write_timeout: Duration,
}

impl AdminLimits {
    fn read(section: &mut Section<'_>) -> AdminLimits {
        AdminLimits {
            max_connections: section.integer("max-connections", 256, 1..=MAX_CONNECTIONS_MAX),
            handshake_timeout: section.duration("handshake-timeout", Duration::from_secs(5), TIMEOUTS),
            head_timeout: section.duration("head-timeout", Duration::from_secs(10), TIMEOUTS),
            body_timeout: section.duration("body-timeout", Duration::from_secs(10), TIMEOUTS),
            write_timeout: section.duration("write-timeout", Duration::from_secs(30), TIMEOUTS),
        }
    }

    /// Writes its part of `[admin]`.
    fn print(&self, printer: &mut Printer) {
        printer.set_count("max-connections", self.max_connections);
        printer.set_duration("handshake-timeout", self.handshake_timeout);
        printer.set_duration("head-timeout", self.head_timeout);
        printer.set_duration("body-timeout", self.body_timeout);
        printer.set_duration("write-timeout", self.write_timeout);
    }
}

/// What is wrong with listening on `listen`, which other machines can reach, for whoever comes.
pub(crate) fn unguarded(listen: &ListenAddress) -> String {
    format!(
        "other machines can reach the admin API on {listen} and neither a token nor a client certificate is asked for; \
         give `token-file`, or `tls` with a `client-ca`, or listen on \"127.0.0.1:9080\" or \
         \"unix:/run/ringway/admin.sock\""
    )
}

/// For so many the process keeps files (see `proxy::files`), so that operators find one when there are no others.
const MAX_CONNECTIONS_MAX: usize = 256;

const ON_A_UNIX_SOCKET: &str =
    "`tls` has no meaning on a Unix socket, which nobody can listen in on; remove it, or listen on a TCP address";

/// One name, in lower case and without a port.
fn parse_host(written: &str) -> Result<String, String> {
    match parse_match_host(written)? {
        host if host.starts_with("*.") => Err(format!("`{written}` stands for many hosts; name each of them")),
        host => Ok(host),
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
