//! SIGHUP: a good edit is applied and becomes history, a bad one changes nothing and says so everywhere.

use crate::harness::echo;
use crate::harness::nginx::Nginx;
use crate::harness::ringway;
use crate::harness::ringway::Operator;
use crate::harness::ringway::POOL;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::until_true;
use serde_json::Value;
use std::fs;

#[test]
fn a_reload_applies_a_good_edit_and_keeps_everything_at_a_bad_one() {
    let story = Story::begin("reload");
    let nginx = Nginx::start(&story, &["a", "b", "c"]);
    let node = |name: &str| format!(r#"{{ name = "{name}", address = "{}" }}"#, nginx.address(name));
    let text = |top: &str, names: &[&str]| {
        let nodes: Vec<String> = names.iter().map(|name| node(name)).collect();
        ringway::config(top, &story.path("store"), &format!("nodes = [{}]", nodes.join(", ")))
    };
    let config = story.write("ringway.toml", &text("", &["a", "b"]));
    let mut proxy = Ringway::serve(&story, &config);
    let mut operator = proxy.operator();
    assert_eq!(nodes(&mut operator), ["a", "b"]);
    let refused = operator.apply(&serde_json::json!([{"remove": {"name": "a"}}])).unwrap();
    assert_eq!(refused.status, 409, "the file owns the pool: {}", refused.text());

    fs::write(&config, text("", &["a", "b", "c"])).unwrap();
    proxy.process.signal("HUP");
    proxy.process.wait_for_log("config reloaded");
    assert_eq!(nodes(&mut operator), ["a", "b", "c"]);
    let history = operator.get(&format!("/v1/pools/{POOL}/events"));
    let event = history["events"].as_array().unwrap().last().unwrap();
    assert_eq!((&event["epoch"], &event["actor"]), (&Value::from(2), &Value::from("config")), "{event}");
    assert!(event["changes"].to_string().contains(r#""add":{"#), "{event}");

    let bad_edits = [
        (text("wrokers = 2", &["a"]), "wrokers"),
        (text("", &["a"]).replace("127.0.0.1:", "127.0.0.1;"), "127.0.0.1;"),
        (text("workers = 1", &["a"]), "workers"),
    ];
    for (bad, named) in bad_edits {
        fs::write(&config, &bad).unwrap();
        assert_kept_by_a_bad_reload(&mut proxy, &mut operator, named);
        fs::write(&config, text("", &["a", "b", "c"])).unwrap();
        proxy.process.signal("HUP");
        until_true("a good file reloads", || operator.metric("ringway_config_last_reload_successful", "") == 1.0);
    }
    assert_eq!(operator.pool()["epoch"], 2, "a reload that changes no node is no event");
}

#[test]
fn a_reload_changes_what_new_connections_speak() {
    let story = Story::begin("reload-listen");
    let pool = format!("initial-nodes = {}", echo::nodes_toml(&echo::start(1)));
    let plain = ringway::config("", &story.path("store"), &pool);
    let table = r#"listen = [{ address = "127.0.0.1:0", proxy-protocol = ["127.0.0.0/8"] }]"#;
    let introduced = plain.replacen(r#"listen = "127.0.0.1:0""#, table, 1);
    let config = story.write("ringway.toml", &plain);
    let proxy = Ringway::serve(&story, &config);
    let mut before = proxy.client();
    assert_eq!(before.get("/", &[]).unwrap().status, 200);
    for (text, is_served) in [(introduced, false), (plain, true)] {
        fs::write(&config, &text).unwrap();
        proxy.process.signal("HUP");
        until_true("a new client meets it", || proxy.client().get("/", &[]).is_ok() == is_served);
        assert_eq!(before.get("/", &[]).unwrap().status, 200, "the connection of before goes on: {text}");
    }
}

/// Reloads a file that must be refused with a message that names what is wrong.
fn assert_kept_by_a_bad_reload(proxy: &mut Ringway, operator: &mut Operator, named: &str) {
    let said = proxy.process.log().len();
    proxy.process.signal("HUP");
    until_true("the reload fails", || operator.metric("ringway_config_last_reload_successful", "") == 0.0);
    until_true("the log names what is wrong", || {
        let new = proxy.process.log().split_off(said);
        new.contains("ERROR") && new.contains("not reloaded") && new.contains(named)
    });
    let status = operator.get("/v1/status");
    assert_eq!(status["reload"]["successful"], false, "{named}: {status}");
    assert_eq!(nodes(operator), ["a", "b", "c"], "{named}");
    for key in 0..50 {
        let answer = proxy.client().get(&format!("/?k=key-{key}"), &[]).unwrap();
        assert_eq!(answer.status, 200, "{named}: {answer:?}");
    }
}

fn nodes(operator: &mut Operator) -> Vec<String> {
    let pool = operator.pool();
    pool["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}
