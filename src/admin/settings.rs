//! `[admin]` and `[metrics]` of the config file.

use crate::proxy::settings::parse_listen;
use crate::proxy::settings::parse_path;
use crate::section::Mistake;
use crate::section::Printer;
use crate::section::Section;
use crate::section::Span;
use std::fmt::Display;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the operator's API listens, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// `listen`; default 127.0.0.1:9080.
    pub listen: ListenAddress,
    /// `token-file`: holds the bearer token that may do everything; required unless only this machine can
    /// connect.
    pub token_file: Option<PathBuf>,
    /// `read-token-file`: holds the bearer token that may only read.
    pub read_token_file: Option<PathBuf>,
    /// `[metrics] listen`: a listener that serves only `/metrics`.
    pub metrics_listen: Option<SocketAddr>,
}

impl AdminSettings {
    /// Reads `[admin]` and `[metrics]`.
    pub fn read(section: &mut Section<'_>) -> AdminSettings {
        let metrics_listen = section.section("metrics", |metrics| metrics.parse("listen", parse_listen));
        section.section("admin", |section| {
            let admin = AdminSettings {
                listen: section.parse("listen", str::parse).unwrap_or(ListenAddress::DEFAULT),
                token_file: section.parse("token-file", parse_path).map(PathBuf::from),
                read_token_file: section.parse("read-token-file", parse_path).map(PathBuf::from),
                metrics_listen,
            };
            if !admin.listen.is_local() && !section.gives("token-file") {
                section.report(admin.without_token(section.place_of("listen")));
            }
            admin
        })
    }

    fn without_token(&self, place: Span) -> Mistake {
        let message = format!(
            "other machines can reach the admin API on {} and no token is asked for; give `token-file`, or \
             listen on \"127.0.0.1:9080\" or \"unix:/run/ringway/admin.sock\"",
            self.listen
        );
        Mistake::new(place, message)
    }

    /// Writes `[admin]` and `[metrics]`.
    pub fn print(&self, printer: &mut Printer) {
        printer.table("[admin]");
        printer.set("listen", self.listen.to_string());
        printer.set_some("token-file", self.token_file.as_deref().map(text));
        printer.set_some("read-token-file", self.read_token_file.as_deref().map(text));
        printer.table("[metrics]");
        printer.set_some("listen", self.metrics_listen.map(|listen| listen.to_string()));
    }
}

/// `IP:port`, `:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// 127.0.0.1:9080
    pub const DEFAULT: ListenAddress = ListenAddress::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9080));

    /// Whether only this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            ListenAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            ListenAddress::Unix(_) => true,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(written: &str) -> Result<ListenAddress, String> {
        match written.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(ListenAddress::Unix(PathBuf::from(path))),
            Some(_) => Err(format!("`{written}` is not the whole path of a socket; begin it with \"unix:/\"")),
            None => parse_listen(written).map(ListenAddress::Tcp),
        }
    }
}

impl Display for ListenAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(formatter),
            ListenAddress::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
