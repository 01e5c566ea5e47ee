//! What becomes of the settings of Envoy that are not carried over, message by message: those that need nothing, since
//! no answer depends on them, and those that are told, with the reason.

/// The members of a kind of message, those aside that are read.
pub(super) struct Known {
    /// What makes no difference to what is answered by whom.
    pub(super) needless: &'static [&'static str],
    /// What does, with the reason why it is not carried over.
    pub(super) told: &'static [(&'static str, &'static str)],
}

/// For messages of which every member that is not read is worth telling.
pub(super) const NOTHING: Known = Known { needless: &[], told: &[] };

pub(super) const BOOTSTRAP: Known = Known {
    needless: &[
        "admin",
        "bootstrap_extensions",
        "cluster_manager",
        "default_config_source",
        "default_regex_engine",
        "default_socket_interface",
        "enable_dispatcher_stats",
        "fatal_actions",
        "flags_path",
        "grpc_async_client_manager_config",
        "hds_config",
        "header_prefix",
        "inline_headers",
        "memory_allocator_manager",
        "node",
        "node_context_params",
        "perf_tracing_file_path",
        "stats_config",
        "stats_flush_interval",
        "stats_flush_on_admin",
        "stats_server_version_override",
        "stats_sinks",
        "tracing",
        "typed_dns_resolver_config",
        "use_tcp_for_dns_lookups",
        "watchdog",
        "watchdogs",
        "xds_config_tracker_extension",
        "xds_delegate_extension",
        "application_log_config",
        "certificate_provider_instances",
    ],
    told: &[
        (
            "dynamic_resources",
            "what Envoy gets from there is not in the file; import what a running Envoy has: \
             `curl -s 'localhost:9901/config_dump?include_eds'` with the port of its `admin`",
        ),
        ("layered_runtime", "Ringway has no runtime: what it overrides of other settings is not considered"),
        ("overload_manager", "Ringway has `[limits]` instead"),
    ],
};

pub(super) const STATIC_RESOURCES: Known = Known { needless: &["secrets"], told: &[] };

/// The configs of a dump, and what they hold resources in.
pub(super) const DUMP: Known = Known {
    needless: &["last_updated", "version_info", "name", "client_status", "@type"],
    told: &[
        ("dynamic_warming_clusters", "these were not in use when the dump was made; make another one"),
        ("warming_state", "this was not in use when the dump was made; make another one"),
        ("draining_state", "this went out of use when the dump was made"),
        ("error_state", "Envoy refused this"),
    ],
};

pub(super) const CLUSTER: Known = Known {
    needless: &[
        "@type",
        "alt_stat_name",
        "cluster_name",
        "dns_failure_refresh_rate",
        "dns_jitter",
        "dns_lookup_family",
        "dns_resolution_config",
        "dns_resolvers",
        "eds_cluster_config",
        "metadata",
        "observability_name",
        "per_connection_buffer_limit_bytes",
        "track_cluster_stats",
        "track_timeout_budgets",
        "typed_dns_resolver_config",
        "upstream_bind_config",
        "use_tcp_for_dns_lookups",
        "wait_for_warm_on_init",
        "warming",
        // Of other ways to balance.
        "least_request_lb_config",
        "lb_policy",
        "maglev_lb_config",
        "original_dst_lb_config",
        "ring_hash_lb_config",
        "round_robin_lb_config",
    ],
    told: &[
        ("circuit_breakers", "a node's limits are `max-inflight`, `max-connections` and `max-waiting` of a pool"),
        ("cleanup_interval", "nodes that leave are cut off after `drain-deadline`"),
        ("close_connections_on_host_health_failure", "Ringway keeps open what is open at a node that falls ill"),
        ("common_http_protocol_options", HTTP_OPTIONS),
        ("dns_refresh_rate", "how often names are looked up is `resolve = { every = \"30s\" }` of a pool"),
        ("filters", "Ringway has no filters"),
        ("health_checks", "the like of it is `health = { path = \"/healthz\", every = \"2s\" }` of a pool"),
        ("http2_protocol_options", HTTP1_ONLY),
        ("http_protocol_options", HTTP_OPTIONS),
        ("ignore_health_on_host_removal", "removed nodes finish what they have within `drain-deadline`"),
        ("load_stats_config", "Ringway reports no load to others"),
        ("lrs_server", "Ringway reports no load to others"),
        ("max_requests_per_connection", "Ringway has no such limit for connections to nodes"),
        ("outlier_detection", "the like of it is `ejection` of a pool, which counts in its own way"),
        ("preconnect_policy", "Ringway connects when there is a request"),
        ("protocol_selection", HTTP1_ONLY),
        ("respect_dns_ttl", "how often names are looked up is `resolve = { every = \"30s\" }` of a pool"),
        ("transport_socket", CLEAR_TEXT),
        ("transport_socket_matches", CLEAR_TEXT),
        ("typed_extension_protocol_options", HTTP1_ONLY),
        ("upstream_config", "Ringway has no other upstreams than HTTP"),
        ("upstream_connection_options", "Ringway has no such options for connections to nodes"),
        ("upstream_http_protocol_options", HTTP1_ONLY),
    ],
};

pub(super) const COMMON_BALANCING: Known = Known {
    needless: &["update_merge_window", "zone_aware_lb_config"],
    told: &[
        ("healthy_panic_threshold", PANIC),
        ("close_connections_on_host_set_change", "Ringway keeps connections when the nodes change"),
        ("ignore_new_hosts_until_first_hc", "a node is well in Ringway until a check says otherwise"),
        ("override_host_status", "Ringway has no such override"),
    ],
};

pub(super) const CONSISTENT: Known = Known {
    needless: &[],
    told: &[(
        "hash_balance_factor",
        "bounded load is `load-bound = { factor = 1.25, min-gap = 4 }` of a pool, with rules of its own: other \
         requests go past their node",
    )],
};

pub(super) const LOAD_ASSIGNMENT: Known = Known {
    needless: &["@type", "cluster_name", "named_endpoints"],
    told: &[("policy", "Ringway has neither priorities nor a share of requests to drop")],
};

/// What Envoy writes into every assignment of a dump.
pub(super) const DUMPED_ASSIGNMENT: Known = Known { needless: &["@type", "cluster_name", "policy"], told: &[] };

pub(super) const LOCALITY: Known = Known {
    // Of one locality, the weight makes no difference, nor does it without `locality_weighted_lb_config`.
    needless: &["load_balancing_weight", "metadata", "priority", "proximity"],
    told: &[],
};

pub(super) const HOST: Known = Known { needless: &["endpoint_name", "health_status"], told: &[] };

pub(super) const ENDPOINT: Known = Known {
    needless: &["health_check_config"],
    told: &[("additional_addresses", "a node has one address in Ringway")],
};

pub(super) const SOCKET_ADDRESS: Known =
    Known { needless: &["ipv4_compat", "protocol", "resolver_name"], told: &[("network_namespace_filepath", NO_LIKE)] };

/// Of a cookie that Envoy would set.
pub(super) const COOKIE: Known = Known { needless: &["attributes", "path"], told: &[] };

pub(super) const LISTENER: Known = Known {
    needless: &[
        "@type",
        "access_log",
        "bind_to_port",
        "continue_on_listener_filters_timeout",
        "drain_type",
        "enable_reuse_port",
        "listener_filters_timeout",
        "metadata",
        "name",
        "per_connection_buffer_limit_bytes",
        "reuse_port",
        "stat_prefix",
        "tcp_backlog_size",
        "traffic_direction",
    ],
    told: &[
        ("connection_balance_config", "Ringway spreads connections evenly over its workers"),
        ("freebind", NO_LIKE),
        ("max_connections_to_accept_per_socket_event", NO_LIKE),
        ("tcp_fast_open_queue_length", NO_LIKE),
        ("transparent", NO_LIKE),
        ("use_original_dst", NO_LIKE),
        ("udp_listener_config", "Ringway speaks no HTTP/3"),
    ],
};

pub(super) const FILTER_CHAIN: Known = Known {
    needless: &["metadata", "name", "transport_socket_connect_timeout"],
    told: &[
        ("filter_chain_match", "Ringway tells connections apart by nothing: all chains' routes are for all of them"),
        ("tls_context", TLS),
        ("transport_socket", TLS),
        ("use_proxy_proto", "Ringway reads no PROXY protocol"),
    ],
};

pub(super) const MANAGER: Known = Known {
    needless: &[
        "@type",
        "access_log",
        "access_log_flush_interval",
        "access_log_options",
        "add_proxy_protocol_connection_state",
        "codec_type",
        "flush_access_log_on_new_request",
        "forward_client_cert_details",
        "generate_request_id",
        "preserve_external_request_id",
        "always_set_request_id_in_response",
        "proxy_status_config",
        "request_id_extension",
        "server_header_transformation",
        "server_name",
        "stat_prefix",
        "tracing",
        "via",
    ],
    told: &[
        ("common_http_protocol_options", LIMITS),
        ("delayed_close_timeout", LIMITS),
        ("drain_timeout", "the time for open requests at the end is `grace`"),
        ("http2_protocol_options", LIMITS),
        ("http_protocol_options", LIMITS),
        ("local_reply_config", "Ringway's own answers are problem+json"),
        ("max_request_headers_kb", LIMITS),
        ("merge_slashes", PATHS),
        ("normalize_path", PATHS),
        ("original_ip_detection_extensions", "whom to believe about the client's address is `trusted-proxies`"),
        ("path_normalization_options", PATHS),
        ("path_with_escaped_slashes_action", PATHS),
        ("request_headers_timeout", LIMITS),
        ("request_timeout", LIMITS),
        ("scoped_routes", "Ringway has one set of pools for all requests"),
        ("skip_xff_append", "Ringway always writes `X-Forwarded-For`"),
        ("stream_idle_timeout", "silence is bounded by `timeouts.idle` of a pool and `[limits]`"),
        ("strip_trailing_host_dot", "Ringway takes a name with a dot behind it for another one"),
    ],
};

pub(super) const ROUTE_CONFIG: Known = Known {
    needless: &[
        "@type",
        "ignore_path_parameters_in_path_matching",
        "internal_only_headers",
        "max_direct_response_body_size_bytes",
        "metadata",
        "most_specific_header_mutations_wins",
        "name",
        "validate_clusters",
    ],
    told: &[
        ("cluster_specifier_plugins", CLUSTER_CHOICE),
        ("ignore_port_in_host_matching", NO_LIKE),
        ("request_headers_to_add", HEADERS),
        ("request_headers_to_remove", HEADERS),
        ("request_mirror_policies", MIRROR),
        ("response_headers_to_add", HEADERS),
        ("response_headers_to_remove", HEADERS),
        ("typed_per_filter_config", FILTERS),
        ("vhds", "what Envoy gets from there is not in the file"),
    ],
};

pub(super) const VIRTUAL_HOST: Known = Known {
    needless: &["include_attempt_count_in_response", "metadata", "name", "virtual_clusters"],
    told: &[
        ("cors", FILTERS),
        ("hedge_policy", "Ringway sends a request to one node at a time"),
        ("include_request_attempt_count", HEADERS),
        ("matcher", "Ringway's `match` is a host and a path"),
        ("per_request_buffer_limit_bytes", "what is held of a body is `max-replay-body` of a pool"),
        ("rate_limits", FILTERS),
        ("request_headers_to_add", HEADERS),
        ("request_headers_to_remove", HEADERS),
        ("request_mirror_policies", MIRROR),
        ("response_headers_to_add", HEADERS),
        ("response_headers_to_remove", HEADERS),
        ("retry_policy", RETRIES),
        ("retry_policy_typed_config", RETRIES),
        ("typed_per_filter_config", FILTERS),
    ],
};

pub(super) const ROUTE: Known = Known {
    needless: &["decorator", "metadata", "name", "stat_prefix", "tracing"],
    told: &[
        ("per_request_buffer_limit_bytes", "what is held of a body is `max-replay-body` of a pool"),
        ("request_headers_to_add", HEADERS),
        ("request_headers_to_remove", HEADERS),
        ("response_headers_to_add", HEADERS),
        ("response_headers_to_remove", HEADERS),
        ("typed_per_filter_config", FILTERS),
    ],
};

/// What a route may ask for besides a path: all of it makes that it cannot be said.
pub(super) const MATCH: Known = Known {
    needless: &[],
    told: &[
        ("case_sensitive", "Ringway's `path` tells capital letters from small ones"),
        ("connect_matcher", CONDITION),
        ("cookies", CONDITION),
        ("dynamic_metadata", CONDITION),
        ("filter_state", CONDITION),
        ("grpc", CONDITION),
        ("headers", CONDITION),
        ("path_match_policy", CONDITION),
        ("query_parameters", CONDITION),
        ("runtime_fraction", CONDITION),
        ("safe_regex", CONDITION),
        ("tls_context", CONDITION),
    ],
};

pub(super) const ACTION: Known = Known {
    needless: &["cluster_not_found_response_code", "metadata_match", "priority"],
    told: &[
        ("append_x_forwarded_host", "Ringway writes `X-Forwarded-Host` in any case"),
        ("auto_host_rewrite", HOST_OF_NODE),
        ("cors", FILTERS),
        ("early_data_policy", NO_LIKE),
        ("flush_timeout", "silence is bounded by `timeouts.idle` of a pool"),
        ("grpc_timeout_offset", NO_LIKE),
        ("hedge_policy", "Ringway sends a request to one node at a time"),
        ("host_rewrite_header", HOST_OF_NODE),
        ("host_rewrite_path_regex", HOST_OF_NODE),
        ("idle_timeout", "silence is bounded by `timeouts.idle` of a pool"),
        ("include_vh_rate_limits", FILTERS),
        ("internal_redirect_policy", "Ringway passes redirects on to the client"),
        ("max_grpc_timeout", NO_LIKE),
        ("max_internal_redirects", "Ringway passes redirects on to the client"),
        ("max_stream_duration", "Ringway bounds no stream as a whole"),
        ("path_rewrite_policy", PATH_REWRITE),
        ("prefix_rewrite", PATH_REWRITE),
        ("rate_limits", FILTERS),
        ("regex_rewrite", PATH_REWRITE),
        ("request_mirror_policies", MIRROR),
        ("retry_policy", RETRIES),
        ("retry_policy_typed_config", RETRIES),
        ("upgrade_configs", "Ringway passes every upgrade on"),
    ],
};

const CLEAR_TEXT: &str =
    "Ringway speaks clear text to nodes: let something beside them take TLS off, or leave this pool to Envoy";

const CLUSTER_CHOICE: &str = "in Ringway the pool follows from host and path alone";

const CONDITION: &str = "a pool's `match` is a host and the beginning of a path, and nothing else";

const FILTERS: &str = "Ringway has no filters";

const HEADERS: &str = "Ringway adds and takes away no headers of your choice";

const HOST_OF_NODE: &str = "Ringway passes Host on as it came, or sends the one that `host` of a pool says";

const HTTP1_ONLY: &str = "Ringway speaks HTTP/1.1 to nodes, with options of its own";

const HTTP_OPTIONS: &str =
    "Ringway has options of its own for connections to nodes: `timeouts`, `max-idle-connections`";

const LIMITS: &str = "what clients may take is in `[limits]`, with defaults of Ringway's own";

const MIRROR: &str = "Ringway sends a request to one node";

const NO_LIKE: &str = "Ringway has no like of it";

pub(super) const PANIC: &str =
    "below which share of well nodes all are used is `panic-below-percent` in `health` of a pool";

const PATH_REWRITE: &str = "Ringway sends the path as it came: let the nodes serve that one";

const PATHS: &str = "Ringway matches, hashes and sends paths as they come";

const RETRIES: &str =
    "the like of it are `max-attempts`, `retry-on` and `retry-budget` of a pool, with rules of their own";

const TLS: &str = "Ringway speaks no TLS: let something in front of it take that off";
