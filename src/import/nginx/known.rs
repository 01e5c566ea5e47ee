//! What nginx's directives are to Ringway: nothing it would have to do, or something it does not do.

use crate::import::Imported;
use crate::import::nginx::tree::Directive;

/// Notes a directive, unless Ringway has to do nothing for it.
pub(super) fn judge(directive: &Directive, imported: &mut Imported) {
    if !is_nothing(directive) {
        imported.leave_out(directive.place.clone(), directive.shown(), reason(directive));
    }
}

/// Whether clients and servers see nothing of it, or Ringway does the same without being told.
fn is_nothing(directive: &Directive) -> bool {
    let name = directive.name.as_str();
    NOTHING.contains(&name)
        || NOTHING_BEGINS.iter().any(|beginning| name.starts_with(beginning))
        || NOTHING_ENDS.iter().any(|end| name.ends_with(end))
        || directive.args.first().is_some_and(|first| first == "off") && NOTHING_OFF.contains(&name)
        || is_as_here(directive)
}

/// Whether its arguments say what Ringway does anyway.
fn is_as_here(directive: &Directive) -> bool {
    let args: Vec<&str> = directive.args.iter().map(String::as_str).collect();
    match (directive.name.as_str(), args.as_slice()) {
        ("proxy_set_header", [name, value]) => {
            HEADERS.iter().any(|(known, values)| known.eq_ignore_ascii_case(name) && values.contains(value))
        }
        ("map", ["$http_upgrade", "$connection_upgrade"]) => directive.children().iter().all(is_of_upgrade),
        ("proxy_redirect", ["default"]) => true,
        _ => false,
    }
}

/// Whether an entry of a `map` makes what `proxy_set_header Connection` takes: `upgrade` for what is one.
fn is_of_upgrade(entry: &Directive) -> bool {
    match (entry.name.as_str(), entry.arg(0)) {
        ("default" | "websocket", value) => value.eq_ignore_ascii_case("upgrade"),
        ("", value) => ["", "close", "keep-alive"].contains(&value),
        _ => false,
    }
}

fn reason(directive: &Directive) -> &'static str {
    let name = directive.name.as_str();
    let is_chain = directive.arg(0).eq_ignore_ascii_case("x-forwarded-for") && directive.arg(1) == CHAIN;
    if name == "proxy_set_header" && is_chain {
        return FORWARDED_FOR;
    }
    let known = REASONS.iter().find(|(names, _)| names.contains(&name)).map(|(_, why)| *why);
    let by_beginning = || BEGINNINGS.iter().find(|(beginning, _)| name.starts_with(beginning)).map(|(_, why)| *why);
    known.or_else(by_beginning).unwrap_or("Ringway has nothing like it, or does not know it")
}

/// Fields that Ringway sets by itself, or whose meaning it knows, with such values.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Connection", &["", "upgrade", "Upgrade", "keep-alive", "$connection_upgrade", "$http_connection"]),
    ("Host", &["$host", "$http_host", "$proxy_host"]),
    ("Upgrade", &["$http_upgrade"]),
    ("X-Forwarded-Host", &["$host", "$http_host"]),
    ("X-Forwarded-Proto", &["$scheme"]),
];

/// Settings of the process, logs, sizes of tables and buffers, and what HTTP proxies do anyway.
const NOTHING: [&str; 68] = [
    "access_log",
    "aio",
    "aio_write",
    "chunked_transfer_encoding",
    "client_body_buffer_size",
    "client_body_in_file_only",
    "client_body_in_single_buffer",
    "client_body_temp_path",
    "client_header_buffer_size",
    "connection_pool_size",
    "daemon",
    "debug_connection",
    "default_type",
    "directio",
    "env",
    "error_log",
    "events",
    "google_perftools_profiles",
    "http2",
    "keepalive",
    "keepalive_disable",
    "keepalive_min_timeout",
    "keepalive_requests",
    "keepalive_time",
    "keepalive_timeout",
    "lingering_close",
    "lingering_time",
    "lingering_timeout",
    "load_module",
    "lock_file",
    "log_format",
    "log_not_found",
    "log_subrequest",
    "master_process",
    "msie_padding",
    "open_log_file_cache",
    "output_buffers",
    "pcre_jit",
    "pid",
    "postpone_output",
    "proxy_buffer_size",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_http_version",
    "proxy_max_temp_file_size",
    "proxy_request_buffering",
    "proxy_socket_keepalive",
    "proxy_temp_file_write_size",
    "proxy_temp_path",
    "read_ahead",
    "request_pool_size",
    "reset_timedout_connection",
    "sendfile",
    "sendfile_max_chunk",
    "server_name_in_redirect",
    "server_tokens",
    "ssl_engine",
    "state",
    "tcp_nodelay",
    "tcp_nopush",
    "thread_pool",
    "timer_resolution",
    "types",
    "user",
    "variables_hash_max_size",
    "working_directory",
    "zone",
];

const NOTHING_BEGINS: [&str; 3] = ["fastcgi_temp", "worker_", "uwsgi_temp"];

const NOTHING_ENDS: [&str; 3] = ["_hash_bucket_size", "_hash_max_size", "_temp_path"];

/// What changes nothing while it is off.
const NOTHING_OFF: [&str; 12] = [
    "absolute_redirect",
    "auth_basic",
    "autoindex",
    "etag",
    "gzip",
    "gzip_vary",
    "port_in_redirect",
    "proxy_cache",
    "proxy_intercept_errors",
    "proxy_redirect",
    "ssi",
    "underscores_in_headers",
];

/// Reasons that hold for a file as a whole, and are given once, where the first of what they are about stands.
pub(super) const ONCE: [&str; 2] = [PATHS, FORWARDED_FOR];

/// Of locations that became a `match` with a path.
pub(super) const PATHS: &str = "here and in what follows, nginx matches paths decoded, with `//`, `.` and `..` taken \
    out, and redirects `/a` to `/a/` for a location of `/a/` alone; Ringway matches paths as they came, and redirects \
    nothing";

/// What a client sent as `X-Forwarded-For`, and its address.
const CHAIN: &str = "$proxy_add_x_forwarded_for";

const FORWARDED_FOR: &str = "nginx appends to what any client sends; Ringway does so only for clients that \
    `trusted-proxies` names, and else writes the client's address alone";

/// Reasons by the name of a directive.
const REASONS: [(&[&str], &str); 27] = [
    (&["client_max_body_size"], "Ringway does not limit the size of bodies; let the nodes do that"),
    (
        &["client_body_timeout", "client_header_timeout", "send_timeout", "large_client_header_buffers"],
        "what a client may take is `[limits]` in Ringway, with defaults of its own",
    ),
    (
        &["set_real_ip_from", "real_ip_header", "real_ip_recursive"],
        "whom to believe about clients is `trusted-proxies`",
    ),
    (&["proxy_set_header"], "Ringway sets no header fields but `X-Forwarded-*`, `Via` and, by `host`, Host"),
    (&["proxy_send_timeout"], "how long a client may send nothing of a body is `limits.body-timeout` in Ringway"),
    (
        &["proxy_next_upstream", "proxy_next_upstream_timeout", "proxy_next_upstream_tries"],
        "what is tried again is `retry-on`, `max-attempts` and `retry-budget` in Ringway, with rules of its own",
    ),
    (&["add_header", "more_set_headers", "expires"], "Ringway adds nothing to responses"),
    (
        &["proxy_hide_header", "proxy_pass_header", "proxy_ignore_headers", "proxy_cookie_path", "proxy_cookie_domain"],
        "Ringway passes the fields of responses as they came",
    ),
    (&["proxy_redirect"], "Ringway passes `Location` as it came"),
    (
        &["return", "rewrite", "try_files", "error_page", "internal"],
        "Ringway answers nothing itself, and passes paths as they came",
    ),
    (&["merge_slashes"], "Ringway matches and passes paths as they came"),
    (&["if", "set"], "Ringway has no conditions and no variables; requests are told apart by `match` and `key` only"),
    (&["map", "geo", "split_clients"], "Ringway has no variables"),
    (&["root", "alias", "index", "autoindex"], "Ringway serves no files"),
    (&["allow", "deny", "satisfy", "auth_basic", "auth_request", "auth_jwt"], "Ringway does not ask who may come"),
    (&["limit_req", "limit_req_zone", "limit_conn", "limit_conn_zone", "limit_rate"], "Ringway limits no clients"),
    (&["resolver", "resolver_timeout"], "Ringway asks the resolver of the system"),
    (&["sub_filter", "subs_filter", "ssi", "addition_types"], "Ringway passes bodies as they came"),
    (&["underscores_in_headers"], "this is `underscore-headers = \"pass\"` in Ringway, for all listeners"),
    (&["ignore_invalid_headers"], "Ringway answers 400 to names of fields that are invalid"),
    (&["upgrade"], "Ringway passes upgrades"),
    (&["mirror"], "Ringway sends a request to one node"),
    (&["proxy_bind"], "Ringway leaves the choice of the source address to the system"),
    (
        &["proxy_method", "proxy_set_body", "proxy_pass_request_headers", "proxy_pass_request_body"],
        "Ringway passes requests as they came",
    ),
    (&["stream", "mail"], "Ringway speaks HTTP only"),
    (
        &["check", "health_check", "check_http_send", "check_http_expect_alive"],
        "checks of nodes are `health` in Ringway",
    ),
    (&["http3", "quic_retry"], "Ringway has no HTTP/3"),
];

/// Reasons by the beginning of a name, where there is none by the whole name.
const BEGINNINGS: [(&str, &str); 8] = [
    ("brotli", "Ringway does not compress"),
    ("grpc_", "Ringway speaks HTTP/1.1 to nodes, so that gRPC does not reach them"),
    ("gunzip", "Ringway does not compress"),
    ("gzip", "Ringway does not compress"),
    ("proxy_cache", "Ringway keeps no responses; put it behind or before what does"),
    ("proxy_ssl", "Ringway has no TLS yet"),
    ("proxy_store", "Ringway keeps no responses"),
    ("ssl_", "Ringway has no TLS yet; let something before it end TLS"),
];
