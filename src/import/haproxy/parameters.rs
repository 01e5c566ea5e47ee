//! The parameters of `server` and `bind` lines: how many words follow each, and what there is to say about those that
//! are not carried over.

use crate::import::Unreadable;
use crate::import::haproxy::words::Line;

/// A parameter that is not carried over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ignored {
    pub(super) word: String,
    pub(super) why: &'static str,
}

/// Parameters with as many words behind them, and why they are not carried over; none where they change nothing about
/// what is answered, and by whom.
pub(super) struct Parameters {
    arguments: usize,
    names: &'static str,
    why: Option<&'static str>,
}

/// Takes the words behind a parameter, and says what there is to say about it.
pub(super) fn take<'a>(
    line: &Line,
    word: &str,
    words: &mut impl Iterator<Item = &'a str>,
    known: &[Parameters],
) -> Result<Option<Ignored>, Unreadable> {
    let is_it = |parameters: &&Parameters| parameters.names.split_ascii_whitespace().any(|name| name == word);
    let Some(parameters) = known.iter().find(is_it) else {
        return Ok(Some(Ignored { word: word.to_owned(), why: UNKNOWN }));
    };
    if words.take(parameters.arguments).count() < parameters.arguments {
        return Err(line.unreadable(format!("`{word}` has no value")));
    }
    Ok(parameters.why.map(|why| Ignored { word: word.to_owned(), why }))
}

const fn known(arguments: usize, names: &'static str) -> Parameters {
    Parameters { arguments, names, why: None }
}

const fn ignored(arguments: usize, names: &'static str, why: &'static str) -> Parameters {
    Parameters { arguments, names, why: Some(why) }
}

/// What a line is answered with that is known to nobody here.
pub(super) const UNKNOWN: &str = "it is not known to this import; look up what it does, and whether you need it here";

const HEALTH: &str = "checks are the pool's `health` here, such as `health = { path = \"/healthz\" }`";

const TLS: &str = "Ringway speaks no TLS to nodes: give addresses where they take clear text";

const PROXY_PROTOCOL: &str = "Ringway does not speak the PROXY protocol; nodes find the client in X-Forwarded-For";

const LIMITS: &str =
    "limits are the pool's `max-inflight` and `max-connections` here, and `queue-timeout` for who waits";

const SYSTEM: &str = "where connections come from is for the system to say here";

/// Those of servers, up to HAProxy 3.4.
pub(super) const SERVER: &[Parameters] = &[
    ignored(0, "check agent-check check-send-proxy check-ssl check-via-socks4 check-reuse-pool", HEALTH),
    ignored(1, "inter fastinter downinter rise fall addr port check-alpn check-proto check-sni track", HEALTH),
    ignored(1, "agent-addr agent-inter agent-port agent-send healthcheck check-pool-conn-name init-state", HEALTH),
    ignored(
        1,
        "observe on-error on-marked-down on-marked-up error-limit",
        "what failing requests mean for a node is the pool's `ejection` here",
    ),
    known(0, "no-check no-agent-check no-check-ssl no-check-send-proxy no-check-reuse-pool no-ssl no-tfo"),
    known(0, "no-send-proxy no-send-proxy-v2 no-send-proxy-v2-ssl no-send-proxy-v2-ssl-cn stick non-stick"),
    known(0, "no-sslv3 no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 no-tls-tickets no-ssl-reuse no-verifyhost"),
    known(0, "ssl-reuse tls-tickets force-sslv3 force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13 allow-0rtt tfo"),
    known(0, "sslv3 tlsv10 tlsv11 tlsv12 tlsv13 renegotiate no-renegotiate no-strict-maxconn ktls"),
    known(1, "ca-file crl-file crt ciphers ciphersuites curves sigalgs client-sigalgs ecdhe ssl-max-ver ssl-min-ver"),
    known(1, "alpn npn sni verify verifyhost"),
    known(1, "pool-max-conn pool-low-conn pool-purge-delay pool-conn-name max-reuse log-bufsize log-proto idle-ping"),
    known(1, "init-addr resolvers resolve-net resolve-opts resolve-prefer shard tcp-ut tcp-md5sig cc"),
    ignored(0, "ssl", TLS),
    ignored(0, "send-proxy send-proxy-v2 send-proxy-v2-ssl send-proxy-v2-ssl-cn", PROXY_PROTOCOL),
    ignored(1, "proxy-v2-options set-proxy-v2-tlv-fmt", PROXY_PROTOCOL),
    ignored(0, "strict-maxconn", LIMITS),
    ignored(1, "maxconn minconn maxqueue", LIMITS),
    // It counts only beside the `cookie` of the backend, which is in the list.
    known(1, "cookie"),
    ignored(1, "slowstart", "a node that comes back gets all its keys at once here"),
    ignored(1, "proto ws", "Ringway speaks HTTP/1.1 to nodes, and passes upgrades on"),
    ignored(1, "redir", "Ringway passes requests on and redirects none"),
    ignored(1, "source interface namespace usesrc", SYSTEM),
    ignored(1, "socks4", "Ringway connects to nodes directly"),
];

/// Those of `bind`, up to HAProxy 3.4.
pub(super) const BIND: &[Parameters] = &[
    known(0, "defer-accept expose-fd v4v6 v6only tfo ssl no-alpn no-ca-names strict-sni prefer-client-ciphers"),
    known(0, "generate-certificates allow-0rtt no-sslv3 no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 no-tls-tickets"),
    known(0, "force-sslv3 force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13 tls-tickets no-strict-sni ktls"),
    known(1, "alpn npn ca-file ca-ignore-err ca-sign-file ca-sign-pass ca-verify-file ciphers ciphersuites"),
    known(1, "client-sigalgs sigalgs crl-file crt crt-ignore-err crt-list curves default-crt ecdhe ssl-max-ver"),
    known(1, "ssl-min-ver tls-ticket-keys verify ocsp-update"),
    known(
        1,
        "backlog gid group guid-prefix id label level mode name nbconn nice process severity-output shards thread",
    ),
    known(1, "tcp-ut tcp-md5sig tcp-ss uid user mss cc idle-ping"),
    ignored(0, "accept-proxy", "Ringway does not read the PROXY protocol; `trusted-proxies` is for X-Forwarded-For"),
    ignored(0, "accept-netscaler-cip", "Ringway does not read what NetScaler says of clients"),
    ignored(0, "transparent", SYSTEM),
    ignored(1, "interface namespace", "which interfaces clients come from is for the system to say here"),
    ignored(1, "maxconn", "connections of all clients together are `limits.max-connections` here"),
    ignored(1, "proto", "Ringway tells HTTP/1.1 and HTTP/2 clients apart itself"),
];
