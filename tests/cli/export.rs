//! `ringway export`: documents for other tools, and what no scrape configuration can be made of.

use crate::program::ringway;
use serde_json::Value;

#[test]
fn documents_for_other_tools_are_printed() {
    let openapi: Value = serde_json::from_str(&ringway(["export", "openapi"]).ok()).unwrap();
    assert!(openapi["paths"]["/v1/pools/{pool}/plan"].is_object(), "{openapi}");
    assert!(ringway(["export", "alerts"]).ok().contains("alert: RingwayPlacementsDiffer"));
    let dashboard: Value = serde_json::from_str(&ringway(["export", "grafana"]).ok()).unwrap();
    assert_eq!(dashboard["title"], "Ringway");
}

#[test]
fn prometheus_is_told_whom_to_scrape_and_with_what() {
    let plain = ringway(["export", "prometheus", "http://10.0.0.5:9080", "[::1]:9080"]).ok();
    let expected = "\
rule_files: [ringway.rules.yml]

scrape_configs:
  - job_name: ringway
    static_configs:
      - targets:
          - \"10.0.0.5:9080\"
          - \"[::1]:9080\"
";
    assert!(plain.ends_with(expected), "{plain}");
    let secured = ["--token-file", "read.token", "--ca", "ca.pem", "--cert", "me.pem", "--cert-key", "a \"b\".key"];
    let secured = [&["export", "prometheus", "https://proxy.internal:9443"][..], &secured].concat();
    let secured = ringway(secured).ok();
    let expected = "  - job_name: ringway
    scheme: https
    tls_config:
      ca_file: \"ca.pem\"
      cert_file: \"me.pem\"
      key_file: \"a \\\"b\\\".key\"
    authorization: { credentials_file: \"read.token\" }
    static_configs:
      - targets:
          - \"proxy.internal:9443\"
";
    assert!(secured.ends_with(expected), "{secured}");
}

#[test]
fn what_prometheus_could_not_scrape_is_refused_with_the_way_out() {
    for (arguments, expected) in [
        // Where none is named it is the one that the other verbs ask, here a Unix socket.
        (&[][..], "Prometheus does not scrape a Unix socket such as `unix:/nonexistent`; set `listen` in [metrics]"),
        (&["unix:/run/ringway.sock"], "set `listen` in [metrics]"),
        (&["http://a:1", "https://b:2"], "export those at https:// by themselves"),
        (&["--ca", "ca.pem", "http://a:1"], "for https://HOST:PORT, and `http://a:1` is no such address"),
        (&["--cert", "me.pem", "https://a:1"], "give both --cert and --cert-key"),
        (&["http://a"], "`http://a` is not the address of an admin API"),
    ] {
        let ran = ringway(["export", "prometheus"].iter().chain(arguments).copied());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.stderr.contains(expected), "{expected}: {ran:?}");
    }
}
