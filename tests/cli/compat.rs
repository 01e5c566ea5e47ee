//! `ringway compat verify` on logs of nginx and HAProxy, made of placements that were recorded from them, and on logs
//! that are not what they should be.

use crate::program::Directory;
use crate::program::Ran;
use crate::program::ringway;
use crate::program::with_input;
use serde_json::Value;
use std::fmt::Write;

/// The keys and the servers that real programs had them at, by the name of the recording.
fn recorded(name: &str) -> impl Iterator<Item = (&'static str, usize)> {
    let recordings = include_str!("../golden/dialects/placements.tsv").lines();
    let places = recordings.filter_map(|line| line.split_once('\t')).find(|(known, _)| *known == name).unwrap().1;
    let (list, places) = places.split_once('\t').unwrap();
    assert_eq!(list, "keys");
    let servers = places.bytes().map(|digit| usize::from(digit - b'0'));
    include_str!("../golden/dialects/keys.txt").lines().zip(servers)
}

/// A pool whose five nodes are b1 to b5 of the recordings.
fn config(directory: &Directory, key: &str, placement: &str, nodes: impl Fn(usize) -> String) -> String {
    let node = |number: usize| format!("{{ name = 'b{number}', address = '127.0.0.1:1810{number}'{} }}", nodes(number));
    let nodes: Vec<String> = (1..=5).map(node).collect();
    let text = format!(
        "listen = ':0'\n[store]\nkind = 'memory'\n[[pool]]\nname = 'app'\nkey = {key}\nplacement = '{placement}'\n\
         nodes = [{}]\n",
        nodes.join(", ")
    );
    directory.file("ringway.toml", &text)
}

/// As nginx escapes in logs.
fn escaped(key: &str) -> String {
    key.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'"' | b'\\' | 0..32 | 127.. => write!(text, "\\x{byte:02X}").unwrap(),
            plain => text.push(char::from(plain)),
        }
        text
    })
}

/// As HAProxy escapes captured headers.
fn escaped_by_haproxy(key: &str) -> String {
    key.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'"' | b'#' | b'{' | b'|' | b'}' | 0..32 | 127.. => write!(text, "#{byte:02X}").unwrap(),
            plain => text.push(char::from(plain)),
        }
        text
    })
}

/// nginx's `combined` with `"$http_x_key" $upstream_addr` behind it.
fn nginx_log(name: &str) -> String {
    recorded(name).fold(String::new(), |log, (key, server)| {
        format!(
            "{log}10.1.2.3 - - [27/Nov/2026:06:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"curl/8.0 (x)\" \"{}\" \
             127.0.0.1:1810{}\n",
            escaped(key),
            server + 1
        )
    })
}

/// HAProxy's `option httplog` with the key captured.
fn haproxy_log(name: &str) -> String {
    recorded(name).fold(String::new(), |log, (key, server)| {
        format!(
            "{log}10.1.2.3:33317 [27/Nov/2026:06:00:00.655] front app/b{} 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 \
             0/0 {{{}}} \"GET / HTTP/1.1\"\n",
            server + 1,
            escaped_by_haproxy(key)
        )
    })
}

fn verify<'a>(config: &'a str, log: &'a str, more: &[&'a str]) -> Ran {
    ringway(["compat", "verify", "-c", config, "--log", log].iter().chain(more).copied())
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn a_log_of_nginx_is_alike_under_its_dialect() {
    let directory = Directory::new("compat-nginx");
    let config = config(&directory, "'header:x-key'", "nginx", |_| String::new());
    let log = directory.file("access.log", &nginx_log("nginx_equal"));
    let found = verify(&config, &log, &["--key-column", "-2"]).ok();
    assert_eq!(
        found,
        format!(
            "{log}: 2000 lines, 2000 of them compared, 2000 distinct keys\n\
             key: as logged in column -2; upstream: column 11\n\
             placed alike: 100.0 % of the lines, 100.0 % of the keys, by pool app with nginx\n\
             best fit: nginx (100.0 % of 2000 keys), as configured\n"
        )
    );
}

#[test]
fn a_log_of_haproxy_names_its_dialect_and_the_ids() {
    let directory = Directory::new("compat-haproxy");
    let config = config(&directory, "'header:x-key'", "nginx", |_| ", weight = 10".to_owned());
    let log = directory.file("haproxy.log", &haproxy_log("haproxy26_hash_fhdr_default_w10"));
    let ran = verify(&config, &log, &["--key-column", "13"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.is_empty(), "{ran:?}");
    for expected in [
        "key: as logged in column 13; upstream: column 4\n",
        " lines disagree; their first keys:\nline  in the log",
        "best fit: haproxy (100.0 % of 2000 keys)\n",
        "    placement = \"haproxy\"\n    nodes: b1: placement-id = \"1\"   b2: placement-id = \"2\"",
    ] {
        assert!(ran.stdout.contains(expected), "{expected:?}: {}", ran.stdout);
    }
    let ran = verify(&config, &log, &["--key-column", "13", "--json", "--disagreements", "2"]);
    let found = json(&ran);
    assert_eq!(found["best_fit"]["placement"]["kind"], "haproxy", "{found}");
    assert_eq!(found["best_fit"]["placement_ids"][4], serde_json::json!({"node": "b5", "placement_id": "5"}));
    assert_eq!(found["best_fit"]["is_configured"], false);
    assert_eq!(found["disagreements"].as_array().unwrap().len(), 2);
    assert_eq!((&found["lines"], &found["keys"]), (&2000.into(), &2000.into()));
    assert!(found["alike_lines_ratio"].as_f64().unwrap() < 0.3, "{found}");
}

#[test]
fn fields_of_json_are_columns_too() {
    let directory = Directory::new("compat-json");
    let config = config(&directory, "'header:x-key'", "envoy-maglev", |_| String::new());
    let log = recorded("envoy140_maglev_equal_default").fold(String::new(), |log, (key, server)| {
        let line = serde_json::json!({"session": key, "status": 200, "host": format!("127.0.0.1:1810{}", server + 1)});
        format!("{log}{line}\n")
    });
    let ran = with_input(
        ["compat", "verify", "-c", &config, "--log", "-", "--key-column", "session", "--json"],
        log.as_bytes(),
    );
    let found = json(&ran);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!((&found["alike_lines"], &found["upstream_column"]), (&2000.into(), &"host".into()), "{found}");
}

#[test]
fn keys_come_out_of_requests_by_the_rule_and_the_usual_mistakes_are_found() {
    let directory = Directory::new("compat-request");
    let log = recorded("nginx_equal").filter(|(key, _)| key.starts_with("user:")).fold(
        String::new(),
        |log, (key, server)| {
            let target = format!("/ws/?x=1&room={key}&y=2");
            format!(
                "{log}- - [27/Nov/2026:06:00:00 +0000] \"GET {target} HTTP/1.1\" 127.0.0.1:1810{}, b9\n",
                server + 1
            )
        },
    );
    let log = directory.file("access.log", &log);
    let right = config(&directory, "'query-raw:room'", "nginx", |_| String::new());
    assert!(
        verify(&right, &log, &[]).ok().contains("key: query-raw:room of the request in column 4; upstream: column 5")
    );
    let wrong = config(&directory, "['path-and-query']", "nginx", |_| String::new());
    let ran = verify(&wrong, &log, &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("no placement fits: the closest"), "{}", ran.stdout);
}

#[test]
fn a_rule_with_the_query_is_told_from_one_without() {
    let directory = Directory::new("compat-path");
    // The recorded keys are paths of their own here, as `hash $uri` had them.
    let log = recorded("nginx_equal")
        .filter(|(key, _)| key.starts_with('/') && !key.contains(['?', ' ', '"']))
        .fold(String::new(), |log, (key, server)| {
            format!("{log}\"GET {key}?t={server} HTTP/1.1\" 127.0.0.1:1810{}\n", server + 1)
        });
    let log = directory.file("access.log", &log);
    let config = config(&directory, "'path-and-query'", "nginx", |_| String::new());
    let ran = verify(&config, &log, &["--fits"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let expected = "  in the config:\n    placement = \"nginx\"\n    key = \"path\"\n";
    assert!(ran.stdout.contains("best fit: nginx (100.0 % of ") && ran.stdout.contains(expected), "{}", ran.stdout);
    let table = ran.stdout.lines().skip_while(|line| !line.starts_with("placement  ")).nth(1).unwrap();
    assert_eq!(table.split_whitespace().take(2).collect::<Vec<_>>(), ["nginx", "\"path\""], "{}", ran.stdout);
}

#[test]
fn what_was_not_tried_is_told_on_demand() {
    let directory = Directory::new("compat-not-tried");
    let config = config(&directory, "'path'", "nginx", |_| ", weight = 300".to_owned());
    let log = directory.file("access.log", "\"GET /a HTTP/1.1\" 127.0.0.1:18101\n");
    let shown = verify(&config, &log, &["--fits"]).stdout;
    assert!(shown.contains("not tried: haproxy: node `b1` has weight 300; those of HAProxy go up to 256"), "{shown}");
}

#[test]
fn a_server_that_was_down_shows_as_failover() {
    let directory = Directory::new("compat-failover");
    let config = config(&directory, "'header:x-key'", "nginx", |_| String::new());
    let log = directory.file("access.log", &nginx_log("nginx_equal_b3_down"));
    let ran = verify(&config, &log, &["--key-column", "-2", "--json"]);
    let found = json(&ran);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let (alike, second) = (found["alike_lines"].as_u64().unwrap(), found["second_lines"].as_u64().unwrap());
    assert_eq!((alike + second, &found["disagreements"][0]["is_second"]), (2000, &true.into()), "{found}");
    assert_eq!(found["best_fit"]["is_configured"], true, "{found}");
}

#[test]
fn lines_that_cannot_be_compared_are_counted_by_reason() {
    let directory = Directory::new("compat-unused");
    let config = config(&directory, "'query:room'", "nginx", |_| String::new());
    let good = "\"GET /?room=1 HTTP/1.1\" 127.0.0.1:18101\n".repeat(10);
    let log = good
        + "\"GET /?doc=1 HTTP/1.1\" 127.0.0.1:18101\n\
           \"GET /?doc=2 HTTP/1.1\" 127.0.0.1:18101\n\
           \"GET /?room=1 HTTP/1.1\" -\n\
           \"\\x16\\x03\\x01\" 127.0.0.1:18101\n\
           \n\
           \"GET /?room=1 HTTP/1.1\" app/<NOSRV>\n\
           \"GET /?room=1 HTTP/1.1\"\n";
    let log = directory.file("access.log", &log);
    let found = json(&verify(&config, &log, &["--json"]));
    let unused = found["unused"].as_array().unwrap();
    let reasons: Vec<_> = unused
        .iter()
        .map(|left| (left["why"].as_str().unwrap(), left["lines"].as_u64(), left["first_line"].as_u64()))
        .collect();
    assert_eq!(
        reasons,
        [
            ("has no such column", Some(1), Some(17)),
            ("the key rule finds no key in the request", Some(2), Some(11)),
            ("no request is logged", Some(1), Some(14)),
            ("no upstream is logged", Some(2), Some(13)),
        ]
    );
    assert_eq!((&found["lines"], &found["compared_lines"], &found["keys"]), (&16.into(), &10.into(), &1.into()));
    let shown = verify(&config, &log, &[]).stdout;
    let line =
        "  not compared: 2 lines, the key rule finds no key in the request, such as line 11: GET /?doc=1 HTTP/1.1\n";
    assert!(shown.contains(line), "{shown}");
}

#[test]
fn a_line_that_should_be_json_and_is_not_is_called_so() {
    let directory = Directory::new("compat-not-json");
    let config = config(&directory, "'header:x-key'", "nginx", |_| String::new());
    // At two nodes, so that one of them is not where the pool puts the key.
    let good = "{\"key\":1.10,\"to\":\"b1\"}\n{\"key\":1.10,\"to\":\"b2\"}\n";
    // Without `escape=json` nginx writes bytes as it does in text.
    let log = directory.file("access.log", &format!("{good}{{\"key\":\"a\\x22\",\"to\":\"b1\"}}\n{{\"to\":\"b1\"}}\n"));
    let found = json(&verify(&config, &log, &["--key-column", "key", "--upstream-column", "to", "--json"]));
    let unused = found["unused"].as_array().unwrap();
    let reasons: Vec<_> =
        unused.iter().map(|left| (left["why"].as_str().unwrap(), left["first_line"].as_u64())).collect();
    assert_eq!(
        reasons,
        [
            ("has no such column", Some(4)),
            ("not in JSON, whose columns have names (nginx writes it with escape=json)", Some(3))
        ]
    );
    // The key is what was hashed, digit by digit.
    assert_eq!(found["disagreements"][0]["key"], "1.10", "{found}");
    assert_eq!(found["keys"], 1, "{found}");
}

#[test]
fn a_server_that_the_pool_lacks_is_not_proved_right() {
    let directory = Directory::new("compat-lacking");
    let config = config(&directory, "'header:x-key'", "nginx", |_| String::new());
    // A server without a node, and nginx's name of the group when all of it is down.
    let log = nginx_log("nginx_equal").replace("127.0.0.1:18105\n", "10.9.9.9:80\n");
    let moved = log.lines().filter(|line| line.ends_with("10.9.9.9:80")).count();
    let log = directory.file("access.log", &format!("{log}{}", "- - \"a\" app\n"));
    let ran = verify(&config, &log, &["--key-column", "-2", "--upstream-column", "-1", "--disagreements", "1"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for expected in [
        "2001 lines, 2000 of them compared".to_owned(),
        "  not compared: 1 line, no upstream is logged, such as line 2001: app\n".to_owned(),
        format!("  would move: {moved} lines, the pool lacks the upstream, such as line "),
        format!("{moved} lines disagree; their first keys:\n"),
        "  10.9.9.9:80  b5".to_owned(),
    ] {
        assert!(ran.stdout.contains(&expected), "{expected:?}: {}", ran.stdout);
    }
    let alike = format!("placed alike: {:.1} %", (2000 - moved) as f64 / 20.0);
    assert!(ran.stdout.contains(&alike) && !ran.stdout.contains("100.0 % of the keys"), "{}", ran.stdout);
    let only_strangers = directory.file("other.log", "\"a\" 10.9.9.9:80\n");
    let ran = verify(&config, &only_strangers, &["--key-column", "1", "--upstream-column", "2"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("no line of "), "{ran:?}");
}

#[test]
fn columns_that_cannot_be_told_are_shown_by_number() {
    let directory = Directory::new("compat-columns");
    let by_header = config(&directory, "'header:x-key'", "nginx", |_| String::new());
    let log = directory.file("access.log", "\"GET / HTTP/1.1\" b1 b2 key\n");
    let columns = "\nthe first line has these columns:\n  1  GET / HTTP/1.1\n  2  b1\n  3  b2\n  4  key\n";
    for (arguments, expected) in [
        (&[][..], "the key rule of the pool is header:x-key, and header:x-key cannot be read from a logged request"),
        (&["--key-column", "4"], "holds nodes of the pool? it may be 2 or 3; name it with --upstream-column"),
        (&["--key-column", "4", "--upstream-column", "9"], "no line of "),
    ] {
        let ran = verify(&by_header, &log, arguments);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(expected) && ran.stderr.ends_with(columns), "{expected}: {ran:?}");
    }
    let by_path = config(&directory, "'path'", "nginx", |_| String::new());
    let log = directory.file("other.log", "/a c1\n");
    for (arguments, expected) in [
        (&[][..], "holds requests? none of the first 100 lines has any"),
        (&["--request-column", "1"], "holds nodes of the pool? none of the first 100 lines has any"),
        (&["--request-column", "0"], "counted from 1, or from -1"),
        (&["--request-column", "1", "--key-column", "1"], "cannot be used with"),
    ] {
        let ran = verify(&by_path, &log, arguments);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(expected), "{expected}: {ran:?}");
    }
    assert!(verify(&by_path, "/nonexistent.log", &[]).stderr.contains("cannot read /nonexistent.log: No such file"));
    let wide = directory.file("wide.log", &"x ".repeat(50));
    assert!(verify(&by_path, &wide, &[]).stderr.ends_with("\n  40  x\n  and 10 more\n"), "{wide}");
    let zipped = with_input(["compat", "verify", "-c", &by_path, "--log", "-"], b"\x1f\x8b\x08\x00");
    assert!(zipped.code == Some(2) && zipped.stderr.contains("zcat"), "{zipped:?}");
}
