//! What there is to say about the lines that are not carried over, keyword by keyword.

use crate::import::haproxy::parameters::UNKNOWN;
use crate::import::haproxy::proxy;
use crate::import::haproxy::section::Kind;
use crate::import::haproxy::words::Line;
use crate::import::time;

/// Why a line of a proxy, or of its defaults, is not carried over; `None` for one that is, or that changes nothing
/// about what is answered, and by whom.
pub(super) fn of_proxy(line: &Line) -> Option<&'static str> {
    let (keyword, action) = (line.word(0), line.word(1));
    let action = action.split_once('(').map_or(action, |(action, _)| action);
    if keyword == "no" || READ.split_ascii_whitespace().any(|read| read == keyword) {
        return None;
    }
    if keyword == "option" && action == "forwardfor" {
        return line.words.iter().any(|word| word == "header").then_some(FORWARDED);
    }
    if keyword == "http-request" && SENT_ANYWAY.iter().any(|name| line.word(2).eq_ignore_ascii_case(name)) {
        return Some("nodes get X-Forwarded-For, -Proto and -Host from Ringway itself");
    }
    let is_not_taken = || proxy::timeout(line).is_ok_and(|timeout| !time::is_taken(&timeout));
    if keyword == "timeout" && matches!(action, "connect" | "server") && is_not_taken() {
        return Some(time::NOT_TAKEN);
    }
    let (keywords, key) = match keyword {
        "http-request" => (HTTP_REQUEST, action),
        "option" => (OPTIONS, action),
        "stats" => return Some("Ringway has no page of statistics among the pools; see `[admin]` and `[metrics]`"),
        "timeout" => (TIMEOUTS, action),
        keyword => (KEYWORDS, keyword),
    };
    found(keywords, key)
}

/// The same of a line in `global`.
pub(super) fn of_global(line: &Line) -> Option<&'static str> {
    let keyword = line.word(0);
    let prefixes =
        ["tune.", "ssl-", "stats", "no", "profiling.", "httpclient.", "51degrees-", "deviceatlas-", "wurfl-"];
    match prefixes.iter().any(|prefix| keyword.starts_with(prefix)) {
        true => None,
        false => found(GLOBAL, keyword),
    }
}

/// The same of a section that is about no proxy.
pub(super) fn of_section(kind: Kind, keyword: &str) -> Option<&'static str> {
    match kind {
        Kind::Other => found(SECTIONS, keyword),
        _ => None,
    }
}

/// Keywords with the reason why they are not carried over, or none where they change nothing.
type Keywords = [(&'static str, Option<&'static str>)];

fn found(keywords: &Keywords, keyword: &str) -> Option<&'static str> {
    let is_it = |(names, _): &&(&str, _)| names.split_ascii_whitespace().any(|name| name == keyword);
    keywords.iter().find(is_it).map_or(Some(UNKNOWN), |(_, why)| *why)
}

/// Those that are carried over, or have lines of their own in the list.
const READ: &str = "acl balance bind default-server default_backend disabled enabled hash-type mode server \
    server-template use_backend";

const SENT_ANYWAY: [&str; 3] = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

const FORWARDED: &str = "nodes get the client's address in X-Forwarded-For here, under no other name";

const CHECKS: Option<&str> = Some("checks are the pool's `health` here, such as `health = { path = \"/healthz\" }`");

const HEADERS: Option<&str> = Some("Ringway changes no headers by rules, apart from the pool's `host`");

const REFUSALS: Option<&str> = Some("Ringway refuses and answers no requests by rules; something in front of it can");

const REWRITES: Option<&str> = Some("Ringway passes paths and methods on as they came");

const SCRIPTS: Option<&str> = Some("Ringway runs no scripts, filters and agents");

const STICKINESS: Option<&str> = Some(
    "it binds clients to servers beside the hash: those that are bound may be elsewhere than their key says, which the \
     placement here does not know",
);

const LIMITS: Option<&str> = Some(
    "limits are `limits.max-connections` for clients here, for nodes the pool's `max-inflight` and `max-connections`",
);

const RETRIES: Option<&str> = Some(
    "a request that failed goes to the next candidate of its key here: see `max-attempts`, `retry-on`, `retry-budget`",
);

const TCP_RULES: Option<&str> = Some("Ringway has no rules about connections");

const CLIENT_TIMES: Option<&str> =
    Some("times of clients are `limits.head-timeout`, `limits.idle-timeout` and `limits.body-timeout` here");

const KEYWORDS: &Keywords = &[
    ("description id guid log log-format log-format-sd log-tag log-steps error-log-format capture declare", None),
    ("backlog email-alert grace http-reuse max-keep-alive-queue max-session-srv-conns unique-id-format", None),
    ("bind-process clitcpka-cnt clitcpka-idle clitcpka-intvl srvtcpka-cnt srvtcpka-idle srvtcpka-intvl", None),
    (
        "hash-preserve-affinity dynamic-cookie-key force-be-switch",
        Some("it is about who else gets a key; see `on-down`"),
    ),
    (
        "hash-balance-factor",
        Some("bounded load is `load-bound` here, such as `load-bound = { factor = 1.25 }`, with rules of its own"),
    ),
    ("cookie appsession persist force-persist ignore-persist stick", STICKINESS),
    ("stick-table", Some("Ringway keeps no tables of clients; what stands in them decides nothing here")),
    ("use-server", Some("it sends requests to a server whatever their key; here all go by their key")),
    ("http-response http-after-response rspadd rspdel rspidel rsprep rspirep http-send-name-header", HEADERS),
    ("unique-id-header", HEADERS),
    ("reqadd reqdel reqidel reqrep reqirep reqpass reqipass reqallow reqiallow", REWRITES),
    ("redirect block reqdeny reqideny reqtarpit reqitarpit", REFUSALS),
    ("tcp-request tcp-response", TCP_RULES),
    ("http-check tcp-check external-check", CHECKS),
    ("maxconn fullconn rate-limit", LIMITS),
    ("retries retry-on", RETRIES),
    ("compression", Some("Ringway compresses nothing; nodes can")),
    ("filter filter-sequence", SCRIPTS),
    ("quic-initial", TCP_RULES),
    (
        "errorfile errorfiles errorloc errorloc302 errorloc303 http-error",
        Some("what Ringway answers itself is a problem document (RFC 9457)"),
    ),
    ("monitor monitor-uri monitor-net", Some("Ringway says how it is at `/healthz` and `/readyz` of `[admin]`")),
    ("dispatch transparent", Some("Ringway sends requests to nodes by their key only")),
    ("source", Some("where connections come from is for the system to say here")),
    (
        "load-server-state-from-file server-state-file-name",
        Some(
            "weights and states that HAProxy keeps in that file are not in this one; compare with `show servers state`",
        ),
    ),
];

const OPTIONS: &Keywords = &[
    ("httplog httpslog tcplog dontlognull dontlog-normal logasap log-separate-errors log-health-checks", None),
    ("http-server-close http-keep-alive httpclose forceclose http-pretend-keepalive http-tunnel nolinger", None),
    ("prefer-last-server idle-close-on-response http-no-delay http-ignore-probes http-use-htx contstats", None),
    ("splice-auto splice-request splice-response tcp-smart-accept tcp-smart-connect tcpka clitcpka srvtcpka", None),
    ("socket-stats independent-streams abortonclose http-buffer-request", None),
    ("httpchk tcp-check ssl-hello-chk smtpchk pgsql-check mysql-check redis-check ldap-check spop-check", CHECKS),
    ("external-check", CHECKS),
    ("redispatch", RETRIES),
    ("persist", STICKINESS),
    ("allbackups", Some("nodes that take over together are ordinary nodes here; see the pool's `on-down`")),
    ("originalto", Some("nodes get where a client wanted to go in `Host` and X-Forwarded-Host alone")),
    (
        "accept-invalid-http-request accept-invalid-http-response accept-unsafe-violations-in-http-request",
        Some("Ringway refuses what breaks RFC 9110"),
    ),
    ("accept-unsafe-violations-in-http-response", Some("Ringway refuses what breaks RFC 9110")),
    ("h1-case-adjust-bogus-client h1-case-adjust-bogus-server", Some("names of fields are in lower case here")),
    ("http_proxy transparent", Some("Ringway sends requests to nodes by their key only")),
    ("http-restrict-req-hdr-names checkcache http-drop-request-trailers http-drop-response-trailers", HEADERS),
    ("forwarded", Some("nodes get X-Forwarded-For, -Proto and -Host here, not Forwarded")),
    ("http-use-proxy-header", Some("Ringway is no forward proxy")),
];

const HTTP_REQUEST: &Keywords = &[
    ("capture set-log-level set-nice set-mark set-tos set-fc-mark set-fc-tos set-bc-mark set-bc-tos", None),
    ("set-header add-header replace-header replace-value del-header add-headers-bin del-headers-bin", HEADERS),
    ("early-hint set-map del-map add-acl del-acl", HEADERS),
    ("deny reject tarpit return redirect auth silent-drop cache-use use-service wait-for-handshake pause", REFUSALS),
    ("set-path set-pathq set-query set-uri replace-path replace-pathq replace-uri normalize-uri set-method", REWRITES),
    ("lua send-spoe-group", SCRIPTS),
    (
        "set-src set-src-port set-dst set-dst-port do-resolve",
        Some("clients and nodes are where they are here; behind other proxies see `trusted-proxies`"),
    ),
    (
        "sc-add-gpc sc-inc-gpc sc-inc-gpc0 sc-inc-gpc1 sc-set-gpt sc-set-gpt0 track-sc0 track-sc1 track-sc2 track-sc",
        Some("Ringway keeps no tables of clients"),
    ),
    ("set-var set-var-fmt unset-var", Some("Ringway has no variables")),
    (
        "disable-l7-retry set-priority-class set-priority-offset set-bandwidth-limit set-timeout set-retries",
        Some("limits and times are the same for all requests of a pool here"),
    ),
    ("wait-for-body", Some("Ringway waits for a body only where the key is in it")),
    ("allow", Some("Ringway has no rules that could refuse a request")),
];

const TIMEOUTS: &Keywords = &[
    ("connect", None),
    ("server", Some("it is `timeouts.head` here; pauses within a response are `timeouts.idle`, 60s unless set")),
    ("client http-request http-keep-alive client-fin client-hs", CLIENT_TIMES),
    ("queue", Some("requests that find all nodes full wait for `queue-timeout`")),
    ("check", CHECKS),
    ("tunnel server-fin", Some("Ringway sets upgraded connections no time")),
    ("tarpit", REFUSALS),
    ("clitimeout contimeout srvtimeout", CLIENT_TIMES),
];

const GLOBAL: &Keywords = &[
    ("setenv presetenv unsetenv resetenv daemon master-worker mworker-max-reloads nbproc nbthread thread-groups", None),
    ("thread-group cpu-map cpu-policy cpu-set numa-cpu-mapping chroot user group uid gid pidfile log log-tag", None),
    ("log-send-hostname description node localpeer hard-stop-after close-spread-time grace ulimit-n maxpipes", None),
    ("fd-hard-limit ca-base crt-base key-base default-path issuers-chain-path quiet zero-warning debug", None),
    ("spread-checks max-spread-checks external-check insecure-fork-wanted insecure-setuid-wanted unix-bind", None),
    ("strict-limits set-dumpable limited-quic expose-experimental-directives expose-deprecated-directives", None),
    ("anonkey set-var set-var-fmt ring prealloc-fd busy-polling pp2-never-send-local warn-blocked-traffic-after", None),
    ("cluster-secret email-alert dns-accept-family harden.reject-privileged-ports.tcp maxcompcpuusage", None),
    ("harden.reject-privileged-ports.quic h2-workaround-bogus-websocket-clients force-cfg-parser-pause", None),
    (
        "setcap ocsp-update.disable ocsp-update.maxdelay ocsp-update.mindelay ocsp-update.mode ocsp-update.httpproxy",
        None,
    ),
    ("maxconn maxconnrate maxsessrate maxsslconn maxsslrate maxcomprate maxzlibmem", LIMITS),
    ("lua-load lua-load-per-thread lua-prepend-path module-load", SCRIPTS),
    (
        "server-state-base server-state-file",
        Some(
            "weights and states that HAProxy keeps in that file are not in this one; compare with `show servers state`",
        ),
    ),
    ("h1-case-adjust h1-case-adjust-file", Some("names of fields are in lower case here")),
    (
        "h1-accept-payload-with-any-method h1-do-not-close-on-insecure-transfer-encoding",
        Some("Ringway refuses what breaks RFC 9110"),
    ),
];

const SECTIONS: &Keywords = &[
    ("mailers ring log-forward log-profile traces program healthcheck", None),
    ("acme crt-store", Some("Ringway speaks no TLS")),
    ("cache", Some("Ringway keeps no responses")),
    ("fcgi-app", Some("nodes speak HTTP here")),
    ("http-errors", Some("what Ringway answers itself is a problem document (RFC 9457)")),
    ("peers", Some("Ringway keeps no tables of clients; proxies agree by their placement")),
    (
        "resolvers",
        Some("host names of nodes are looked up by the resolver of the system here, as often as `resolve` says"),
    ),
    ("userlist", Some("Ringway asks for no passwords")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::haproxy::words;

    fn why(line: &str) -> Option<&'static str> {
        of_proxy(&words::read(&format!("{line}\n"), &|_| None).unwrap().lines[0])
    }

    #[test]
    fn what_matters_is_said_and_what_does_not_is_not() {
        for (line, expected) in [
            ("option httplog", ""),
            ("option forwardfor except 127.0.0.0/8", ""),
            ("option forwardfor header X-Client", "no other name"),
            ("option httpchk GET /health", "`health`"),
            ("hash-balance-factor 150", "`load-bound`"),
            ("cookie SRV insert", "binds clients to servers"),
            ("http-request set-header X-A b", "no headers"),
            ("http-request deny if { path /x }", "refuses and answers"),
            ("http-request set-var(txn.a) path", "no variables"),
            ("timeout client 5s", "limits.head-timeout"),
            ("timeout connect 5s", ""),
            ("timeout connect 0", "from 1ms to a day"),
            ("timeout server 25h", "from 1ms to a day"),
            ("no option redispatch", ""),
            ("stats uri /haproxy", "[admin]"),
            ("brand-new-keyword 3", "not known"),
            ("option brand-new", "not known"),
            ("http-request brand-new", "not known"),
        ] {
            let found = why(line).unwrap_or_default();
            assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{line}: {found}");
        }
    }
}
