//! Two processes and one store: one may write, others may read.

use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use serde_json::json;

#[test]
fn the_second_proxy_on_a_store_names_the_first_and_readers_do_not_mind() {
    let story = Story::begin("two-processes");
    let nodes = r#"initial-nodes = [{ name = "a", address = "127.0.0.1:9" }]"#;
    let config = story.write("ringway.toml", &ringway::config("", &story.path("store"), nodes));
    let first = Ringway::serve(&story, &config);
    let epoch = first.operator().must_apply(&json!([{"weight": {"name": "a", "weight": 2}}]));
    assert_eq!(epoch, 2);

    let mut second = Ringway::spawn(&story, &config);
    let (status, _) = second.wait();
    let log = second.log();
    assert_eq!(status.code(), Some(1), "{log}");
    let holder = format!("pid {}", first.process.id());
    assert!(log.contains(&holder), "the message does not name {holder}:\n{log}");

    let located = ringway::run(&["locate", "-c", config.to_str().unwrap(), "--json", "key"], "");
    assert_eq!(located.code, 0, "{located:?}");
    assert!(located.stdout.contains(r#""epoch":2,"#), "{located:?}");
    assert_eq!(first.operator().must_apply(&json!([{"weight": {"name": "a", "weight": 3}}])), 3);
}
