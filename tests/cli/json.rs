//! What `docs/json.md` promises of `--json`, held against what each verb writes.

use crate::CONFIG;
use crate::live::Proxy;
use crate::program::Directory;
use crate::program::Ran;
use crate::program::ringway;
use serde_json::Map;
use serde_json::Value;
use std::collections::BTreeMap;

/// The members of each verb's objects; those that end in `?` are not always there.
fn promised() -> BTreeMap<&'static str, Vec<&'static str>> {
    let code = |cell: &'static str| cell.split('`').skip(1).step_by(2);
    let rows = include_str!("../../docs/json.md").lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').collect::<Vec<&str>>());
    cells.flat_map(|cells| code(cells[1]).map(move |verb| (verb, code(cells[3]).collect()))).collect()
}

/// The objects that a run wrote. That a log is not alike is exit code 1, as of diff(1).
fn objects(ran: &Ran) -> Vec<Map<String, Value>> {
    assert!(matches!(ran.code, Some(0 | 1)) && ran.stderr.is_empty(), "{ran:?}");
    ran.stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn each_verb_writes_the_members_that_are_promised() {
    let proxy = Proxy::with_three_nodes();
    let directory = Directory::new("json");
    let nginx =
        directory.file("nginx.conf", "http { upstream u { hash $request_uri consistent; server 10.0.0.1:80; } }");
    let keys: String = (0..20).map(|key| format!("127.0.0.1:3001 key-{key}\n")).collect();
    let log = directory.file("access.log", &keys);
    let verify = ["compat", "verify", "-c", CONFIG, "--log", &log, "--key-column", "2", "--upstream-column", "1"];
    let promised = promised();
    for (verb, live, arguments) in [
        ("status", true, &["status"][..]),
        ("top", true, &["top", "-n", "1"]),
        ("node list", true, &["node", "list"]),
        ("ring", true, &["ring"]),
        ("ring", false, &["ring", "-c", CONFIG]),
        ("locate", true, &["locate", "room-42"]),
        ("locate", false, &["locate", "-c", CONFIG, "room-42"]),
        ("explain", true, &["explain", "/", "-H", "x-room: 7"]),
        ("explain", false, &["explain", "-c", CONFIG, "--key", "room-42"]),
        ("plan", true, &["plan", "remove", "a", "b"]),
        ("plan", false, &["plan", "-c", CONFIG, "drain", "a"]),
        ("apply", true, &["apply", "--reason", "room", "weight", "a=2"]),
        ("rollback", true, &["rollback", "--to-epoch", "1"]),
        ("node add", true, &["node", "add", "d=127.0.0.1:4"]),
        ("node weight", true, &["node", "weight", "d=2"]),
        ("node drain", true, &["node", "drain", "d"]),
        ("node undrain", true, &["node", "undrain", "d"]),
        ("node remove", true, &["node", "remove", "d"]),
        ("events", true, &["events"]),
        ("check", false, &["check", "-c", CONFIG]),
        ("simulate", false, &["simulate", "--seeds", "1", "--nodes", "3"]),
        ("import", false, &["import", "nginx", &nginx]),
        ("compat verify", false, &verify),
    ] {
        let arguments = [arguments, &["--json"]].concat();
        let ran = if live { proxy.run(&arguments) } else { ringway(arguments.iter().copied()) };
        let members = &promised[verb];
        let objects = objects(&ran);
        assert!(!objects.is_empty(), "{verb}");
        for object in objects {
            let missing = members.iter().filter(|member| !member.ends_with('?') && !object.contains_key(**member));
            assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new(), "{verb}: {object:#?}");
            let is_known = |member: &String| members.iter().any(|known| known.trim_end_matches('?') == member);
            let unknown: Vec<&String> = object.keys().filter(|member| !is_known(member)).collect();
            assert_eq!(unknown, Vec::<&String>::new(), "{verb} is not told whole in docs/json.md");
        }
    }
    proxy.stop();
}
