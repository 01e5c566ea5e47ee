//! The same keys on the same nodes: after a restart, in another build, live and offline.

use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use serde_json::json;

const KEYS: usize = 10_000;

#[test]
fn placement_survives_restarts_and_does_not_depend_on_the_build() {
    let story = Story::begin("restart");
    let nodes = r#"initial-nodes = [
        { name = "a", address = "127.0.0.1:9" }, { name = "b", address = "127.0.0.1:9", weight = 3 },
        { name = "c", address = "127.0.0.1:9", zone = "z" },
    ]"#;
    let config = story.write("ringway.toml", &ringway::config("", &story.path("store"), nodes));
    let file = config.to_str().unwrap();
    let keys: String = (0..KEYS).map(|key| format!("key-{key}\n")).collect();

    let mut proxy = Ringway::serve(&story, &config);
    let mut operator = proxy.operator();
    operator
        .must_apply(&json!([{"add": {"name": "d", "address": "127.0.0.1:9", "weight": 2}}, {"drain": {"name": "a"}}]));
    operator.must_apply(&json!([{"weight": {"name": "b", "weight": 5}}]));
    let before = operator.pool();
    let admin = format!("http://{}", proxy.admin);
    let live = ringway::run(&["locate", "--admin", &admin, "--json", "-"], &keys);
    assert_eq!((live.code, live.stdout.lines().count()), (0, KEYS), "{}", live.stderr);
    proxy.process.signal("TERM");
    assert!(proxy.process.wait().0.success());

    let proxy = Ringway::serve(&story, &config);
    assert_eq!(proxy.operator().pool(), before, "the membership, its epoch and its fingerprints");
    let admin = format!("http://{}", proxy.admin);
    let restarted = ringway::run(&["locate", "--admin", &admin, "--json", "-"], &keys);
    assert!(restarted.stdout == live.stdout, "some keys moved in a restart");
    for binary in [ringway::binary(), ringway::debug_binary()] {
        let offline = ringway::run_binary(&binary, &["locate", "-c", file, "--json", "-"], &keys);
        assert!(offline.stdout == live.stdout, "{} places some keys elsewhere", binary.display());
    }
}
