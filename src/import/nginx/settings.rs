//! What `http`, `server` and `location` blocks say about passing requests on, each over the one around it.

use crate::import::Imported;
use crate::import::Unreadable;
use crate::import::is_host;
use crate::import::nginx::known;
use crate::import::nginx::tree::Directive;
use crate::import::time;
use std::time::Duration;

/// What holds in a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// The value of `proxy_set_header Host`; nginx takes that of a block around only where there is no
    /// `proxy_set_header` at all.
    host: Option<String>,
    /// `proxy_connect_timeout`
    pub(super) connect_timeout: Option<Duration>,
    /// `proxy_read_timeout`
    pub(super) read_timeout: Option<Duration>,
}

impl Settings {
    /// What holds in a block with these directives within one where `self` holds.
    ///
    /// # Errors
    /// When a time cannot be read.
    pub(super) fn within(&self, block: &[Directive]) -> Result<Settings, Unreadable> {
        let mut settings = self.clone();
        let headers = || block.iter().filter(|directive| directive.name == "proxy_set_header");
        if headers().next().is_some() {
            let host = headers().find(|header| header.arg(0).eq_ignore_ascii_case("host"));
            settings.host = host.map(|header| header.arg(1).to_owned());
        }
        for directive in block {
            match directive.name.as_str() {
                "proxy_connect_timeout" => settings.connect_timeout = Some(time(directive)?).filter(time::is_taken),
                "proxy_read_timeout" => settings.read_timeout = Some(time(directive)?).filter(time::is_taken),
                _ => {}
            }
        }
        Ok(settings)
    }

    /// What nodes get as Host: `None` for what the client sent. `server_name` is the first name of the server.
    ///
    /// # Errors
    /// Why Ringway cannot send it.
    pub(super) fn host(&self, upstream: &str, server_name: &str) -> Result<Option<String>, String> {
        let text = match self.host.as_deref() {
            Some("$host" | "$http_host") => return Ok(None),
            None | Some("$proxy_host") => upstream,
            Some("$server_name") => server_name,
            Some(text) => text,
        };
        match is_host(text) && !text.contains('$') {
            true => Ok(Some(text.to_owned())),
            false => Err(format!(
                "nodes get `{text}` as Host, which Ringway cannot send; here they get what the client sent"
            )),
        }
    }
}

/// Notes what a block says that is not carried over. Blocks within it, and what decides where requests go, are for
/// others.
pub(super) fn judge(block: &[Directive], imported: &mut Imported) {
    for directive in block {
        match directive.name.as_str() {
            "listen" | "location" | "map" | "proxy_pass" | "server" | "server_name" | "upstream" => {}
            "proxy_set_header" if directive.arg(0).eq_ignore_ascii_case("host") => {}
            "proxy_connect_timeout" | "proxy_read_timeout"
                if !time(directive).is_ok_and(|time| time::is_taken(&time)) =>
            {
                imported.leave_out(directive.place.clone(), directive.shown(), time::NOT_TAKEN);
            }
            "proxy_connect_timeout" => {}
            "proxy_read_timeout" => {
                let why =
                    "it is `timeouts.head`; the longest silence within a body is `timeouts.idle`, which stays at 60s";
                imported.leave_out(directive.place.clone(), directive.shown(), why);
            }
            _ => known::judge(directive, imported),
        }
    }
}

/// A time in nginx's units, seconds where there is none: `1m 30s` in quotes, `60`, `500ms`.
fn time(directive: &Directive) -> Result<Duration, Unreadable> {
    let refuse = || directive.refuse(format!("`{}` is not a time such as 30s or 500ms", directive.arg(0)));
    let mut sum = Duration::ZERO;
    let mut rest = directive.arg(0);
    if directive.args.len() != 1 || rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let (part, behind) = time::first(rest, &UNITS).ok_or_else(refuse)?;
        sum = sum.saturating_add(part);
        rest = behind.trim_start_matches(' ');
    }
    Ok(sum)
}

/// As `ngx_parse_time` of nginx 1.22 has them for times in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("", 1_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("w", 604_800_000_000),
];
