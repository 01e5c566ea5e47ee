//! The command line as people and scripts use it: the built program, its output and its exit codes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

#[path = "proxy/harness/authority.rs"]
mod authority;
#[path = "cli/compat.rs"]
mod compat;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/export.rs"]
mod export;
#[path = "cli/import.rs"]
mod import;
#[path = "cli/json.rs"]
mod json;
#[path = "cli/live.rs"]
mod live;
#[path = "cli/packages.rs"]
mod packages;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/seed.rs"]
mod seed;
#[path = "cli/simulate.rs"]
mod simulate;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/top.rs"]
mod top;
#[path = "cli/units.rs"]
mod units;

use program::Ran;
use program::ringway;
use ringway::config::Config;
use ringway::control::pool_at::PoolAt;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// One pool, `rooms`, with three nodes and a store in memory.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/ringway.toml");

/// The same with another node, owned by the file.
const EDITED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/edited.toml");

/// Two pools.
const TWO_POOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/two-pools.toml");

/// The pool of [`CONFIG`], built by the library instead of the program.
fn rooms() -> PoolAt {
    let pool = Config::load(Path::new(CONFIG)).unwrap().pools.remove(0);
    PoolAt::build("rooms", 1, pool.source.membership, pool.settings.key).unwrap()
}

#[test]
fn locate_shows_the_owner_and_who_is_tried_next() {
    let located = ringway(["locate", "-c", CONFIG, "room-42", "room-43"]).ok();
    assert_eq!(
        located,
        "room-42  ->  a   (then c, b)   epoch 1\n\
         room-43  ->  c   (then b, a)   epoch 1\n"
    );
}

/// The document of design and API; hash and fingerprint were printed by the first version. They may never change: keys
/// in the field live by them.
#[test]
fn locate_json_is_one_object_a_line() {
    let located = ringway(["locate", "-c", CONFIG, "--json", "room-42"]).ok();
    assert_eq!(
        located,
        concat!(
            r#"{"pool":"rooms","key":"room-42","hash":"2ea629c2e1bc856b","owner":"a","candidates":["a","c","b"],"#,
            r#""epoch":1,"fingerprint":"e21712ef44beba90"}"#,
            "\n"
        )
    );
}

/// Where HAProxy 2.6 sent a client under `balance source`: four of `tests/golden/dialects`.
#[test]
fn locate_finds_keys_where_another_program_put_them() {
    let directory = program::Directory::new("locate-haproxy");
    let node =
        |id: u32| format!("{{ name = 'b{id}', address = '127.0.0.1:1810{id}', weight = 10, placement-id = '{id}' }}");
    let nodes: Vec<String> = (1..=5).map(node).collect();
    let text = format!(
        "listen = ':0'\n[store]\nkind = 'memory'\n[[pool]]\nname = 'app'\nkey = 'client-ip'\n\
         placement = {{ kind = 'haproxy', hash = 'source' }}\nnodes = [{}]\n",
        nodes.join(", ")
    );
    let config = directory.file("ringway.toml", &text);
    let located = ringway(["locate", "-c", &config, "127.1.0.1", "127.2.7.14", "127.3.14.27", "127.5.28.53"]).ok();
    let owners: Vec<&str> = located.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(owners, ["b4", "b2", "b3", "b4"], "{located}");
    let plan = ringway(["plan", "-c", &config, "placement", "table"]);
    assert!(plan.stdout.contains("between unchanged nodes"), "{plan:?}");
}

#[test]
fn locate_streams_many_keys_in_order() {
    let rooms = rooms();
    let keys: Vec<String> = (0..10_000).map(|number| format!("room-{number}")).collect();
    let located = program::with_input(["locate", "-c", CONFIG, "--json", "-"], keys.join("\n").as_bytes()).ok();
    let mut lines = located.lines();
    for key in &keys {
        let expected = serde_json::to_string(&rooms.locate(key.as_bytes())).unwrap();
        assert_eq!(lines.next(), Some(expected.as_str()), "{key}");
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn locate_answers_a_pipe_while_it_is_being_written() {
    let mut child =
        program::command(["locate", "-c", CONFIG, "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for key in ["first", "second", "third"] {
        // The next key is only written once the last one is answered.
        input.write_all(format!("{key}\n").as_bytes()).unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.starts_with(key), "{key}: {line:?}");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn locate_ends_quietly_when_nobody_reads_on() {
    let mut child = program::command(["locate", "-c", CONFIG, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    drop(child.stdout.take());
    // The program leaves at its first answer; from then on this side has nobody to write to.
    while input.write_all(b"room-1\n").is_ok() {}
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn plan_shows_what_moves_and_how_to_do_it() {
    let plan = ringway(["plan", "-c", CONFIG, "add", "d=127.0.0.1:3004,zone=z 1", "weight", "a=2"]).ok();
    assert_eq!(
        plan,
        "moves 29.4 % of the keys; the least for these weights is 25.0 %\n   \
         b -> d  9.0 %   b -> a  8.6 %   a -> d  4.2 %   c -> a  3.9 %   c -> d  3.6 %\n   \
         between unchanged nodes  0 %\n\
         after: a 34.3 %   b 32.6 %   c 16.2 %   d 16.9 %\n\
         apply it:  ringway apply --if-epoch 1 add 'd=127.0.0.1:3004,zone=z 1' weight a=2\n"
    );
    let with_pool = ringway(["plan", "-c", CONFIG, "--pool", "rooms", "drain", "a"]).ok();
    assert!(with_pool.ends_with("ringway apply --pool rooms --if-epoch 1 drain a\n"), "{with_pool}");
}

#[test]
fn plan_says_what_would_be_refused() {
    let plan = ringway(["plan", "-c", CONFIG, "remove", "a", "b"]).ok();
    assert!(plan.contains("unsafe: this takes out 75.0 % of the weight"), "{plan}");
    assert!(plan.contains("--force"), "{plan}");
}

#[test]
fn plan_json_holds_what_the_library_says() {
    let plan = ringway(["plan", "-c", CONFIG, "--json", "drain", "a"]).ok();
    let changes: Vec<_> = serde_json::from_str(r#"[{"drain":{"name":"a"}}]"#).unwrap();
    let expected = serde_json::to_string(&rooms().plan(&changes).unwrap()).unwrap();
    assert_eq!(plan, format!("{expected}\n"));
    let fields = [
        "pool",
        "epoch",
        "moved_ratio",
        "optimal_ratio",
        "collateral_ratio",
        "flows",
        "nodes",
        "fingerprint_before",
        "fingerprint_after",
    ];
    let value: serde_json::Value = serde_json::from_str(&plan).unwrap();
    fields.iter().for_each(|field| assert!(!value[field].is_null(), "{field}: {plan}"));
}

#[test]
fn plan_previews_an_edited_file() {
    let plan = ringway(["plan", "-c", EDITED, "--against", CONFIG]).ok();
    assert!(plan.starts_with("pool rooms\nmoves 39.8 % of the keys"), "{plan}");
    assert!(plan.contains("after: a 25.6 %   b 49.4 %   c 0 %   d 24.9 %"), "{plan}");
    assert!(plan.ends_with("reload it with SIGHUP\n"), "{plan}");
    let same = ringway(["plan", "-c", CONFIG, "--against", CONFIG]).ok();
    assert!(same.contains("moves 0 %") && same.ends_with("nothing to do\n"), "{same}");
    let compared = ringway(["plan", "-c", TWO_POOLS, "--against", CONFIG]);
    assert!(compared.stderr.contains("pool docs is new"), "{compared:?}");
    assert!(compared.ok().starts_with("pool rooms\n"));
}

#[test]
fn ring_shows_shares_beside_what_is_fair() {
    assert_eq!(
        ringway(["ring", "-c", CONFIG]).ok(),
        "pool rooms   epoch 1   fingerprint e21712ef44beba90   ring\n\
         2048 points, largest share 1.04 x fair\n\
         node                                  weight    owns    fair\n\
         a     ################                     1  26.0 %  25.0 %\n\
         b     ##############################       2  50.3 %  50.0 %\n\
         c     ###############                      1  23.8 %  25.0 %\n"
    );
    let ring: serde_json::Value = serde_json::from_str(&ringway(["ring", "-c", CONFIG, "--json"]).ok()).unwrap();
    assert_eq!(ring["nodes"][1]["name"], "b", "{ring}");
    let picture = ringway(["ring", "-c", CONFIG, "--svg"]).ok();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{picture}");
}

#[test]
fn explain_finds_the_pool_the_key_and_the_owner() {
    let request = ["explain", "-c", TWO_POOLS, "GET /docs/7?x=1", "-H", "x-room: 9", "--host", "docs.example.com"];
    let explained = ringway(request).ok();
    for part in ["docs", "/docs/7, from path", "owner     e at 127.0.0.1:3005"] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    let by_key = ringway(["explain", "-c", CONFIG, "--json", "--key", "room-42"]).ok();
    let by_key: serde_json::Value = serde_json::from_str(&by_key).unwrap();
    assert_eq!((&by_key["owner"], &by_key["hash"]), (&"a".into(), &"2ea629c2e1bc856b".into()), "{by_key}");
    let by_header = ringway(["explain", "-c", CONFIG, "/ws", "-H", "x-room: room-42"]).ok();
    assert!(by_header.contains("room-42, from header:x-room"), "{by_header}");
}

#[test]
fn check_tells_what_to_expect() {
    let checked = ringway(["check", "-c", CONFIG]);
    assert_eq!(
        checked.ok(),
        format!("{CONFIG}: ok, 1 pool, 3 nodes\npool rooms: 3 nodes, ring vnodes=512, largest share 1.04 x fair\n")
    );
    let effective = ringway(["check", "-c", CONFIG, "--effective"]).ok();
    let read_back = Config::parse("effective", &effective).unwrap();
    assert_eq!(read_back, Config::load(Path::new(CONFIG)).unwrap(), "{effective}");
}

#[test]
fn check_warns_of_two_nodes_with_one_address() {
    let directory = program::Directory::new("check-warns");
    let text = std::fs::read_to_string(CONFIG).unwrap().replace(":3003", ":3001");
    let checked = ringway(["check", "-c", &directory.file("twins.toml", &text)]);
    assert!(checked.stderr.contains("warning: pool rooms: nodes a and c have one address"), "{checked:?}");
    assert_eq!(checked.code, Some(0));
}

#[test]
fn check_warns_of_more_connections_than_files() {
    let directory = program::Directory::new("check-files");
    let text = std::fs::read_to_string(CONFIG).unwrap();
    for (connections, warns) in [(97, true), (96, false)] {
        let file = directory.file("few.toml", &format!("{text}\n[limits]\nmax-connections = {connections}\n"));
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "ulimit -n 256 && exec \"$0\" check -c \"$1\"", env!("CARGO_BIN_EXE_ringway"), &file]);
        let checked = shell.output().unwrap();
        let said = String::from_utf8(checked.stderr).unwrap();
        assert_eq!(said.contains("only 96 are for clients"), warns, "{connections}: {said}");
        assert_eq!(said.contains("and 24 more while few of them ask"), warns, "{connections}: {said}");
        assert!(checked.status.success(), "{connections}: {said}");
    }
}

#[test]
fn check_reads_certificates_and_says_which_file_is_wrong() {
    let directory = program::Directory::new("check-tls");
    let key = directory.file("site.key", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
    let certificate = format!("[[tls.certificate]]\ncertificate = '{key}'\nkey = '{key}'\n");
    let text = format!("listen = {{ address = ':0', tls = true }}\n{certificate}[[pool]]\nname = 'p'\nkey = 'path'\n");
    let file = directory.file("tls.toml", &(text + "nodes = [{ name = 'a', address = 'a:80' }]"));
    let expected = format!("error: {file}: the certificate `{key}` has no certificate; one begins with");
    for arguments in [&["check", "-c", &file][..], &["check", "-c", &file, "--json"]] {
        let checked = ringway(arguments.iter().copied());
        assert!(checked.stderr.starts_with(&expected) && !checked.stderr.contains("c2VjcmV0"), "{checked:?}");
        assert_eq!(checked.code, Some(2), "{checked:?}");
        assert_eq!(checked.stdout.contains("\"ok\":false"), arguments.len() == 4, "{checked:?}");
    }
}

#[test]
fn check_tells_programs_what_it_tells_people() {
    let checked: serde_json::Value = serde_json::from_str(&ringway(["check", "-c", CONFIG, "--json"]).ok()).unwrap();
    assert_eq!((&checked["ok"], &checked["pools"][0]["pool"]), (&true.into(), &"rooms".into()), "{checked}");
    let directory = program::Directory::new("check-json");
    let text = std::fs::read_to_string(CONFIG).unwrap();
    let wrong = directory.file("wrong.toml", &format!("workrs = 2\n{text}"));
    let checked = ringway(["check", "--json", "-c", &wrong]);
    assert_eq!(checked.code, Some(2), "{checked:?}");
    let mistakes: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    let unknown = &mistakes["mistakes"][0];
    assert_eq!((&unknown["line"], &unknown["column"]), (&1.into(), &1.into()), "{mistakes}");
    assert_eq!(unknown["message"], "unknown key `workrs`", "{mistakes}");
    assert_eq!(unknown["help"], "did you mean `workers`?", "{mistakes}");
}

#[test]
fn check_shows_every_mistake_at_once() {
    let directory = program::Directory::new("check-mistakes");
    let text = std::fs::read_to_string(CONFIG).unwrap().replace("weight", "wieght").replace("memory", "memroy");
    let checked = ringway(["check", "-c", &directory.file("wrong.toml", &text)]);
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(2), ""), "{checked:?}");
    for part in ["`wieght`", "did you mean `weight`?", "`memroy`", "wrong.toml"] {
        assert!(checked.stderr.contains(part), "{part}: {checked:?}");
    }
}

#[test]
fn bad_usage_is_exit_code_2_with_a_way_out() {
    for (arguments, expected) in [
        (&["frobnicate"][..], "unrecognized subcommand"),
        (&["serve"], "--listen <ADDRESS>"),
        (&["serve", "--listen", "127.0.0.1:0", "--key", "foo", "a=127.0.0.1:1"], "unknown key source `foo`"),
        (&["serve", "--listen", "127.0.0.1:0", "--key", "path", "a"], "NAME=ADDRESS"),
        (&["locate", "-c", CONFIG, "--epoch", "4", "x"], "knows epochs 0 to 1"),
        (&["locate", "-c", CONFIG, "--pool", "room", "x"], "did you mean `rooms`?"),
        (&["locate", "-c", TWO_POOLS, "x"], "name one with --pool: rooms, docs"),
        (&["locate", "-c", "/nonexistent.toml", "x"], "cannot read the config file"),
        (&["locate", "-c", CONFIG, "--admin", "http://127.0.0.1:1", "x"], "give one of them"),
        (&["plan", "-c", CONFIG, "drian", "a"], "did you mean `drain`?"),
        (&["plan", "-c", CONFIG, "remove", "nobody"], "no node `nobody`"),
        (&["plan", "-c", CONFIG, "placement", "ngixn"], "did you mean `nginx`?"),
        (&["plan", "-c", CONFIG, "placement", "haproxy"], "HAProxy hashes the id of a server"),
        (&["status", "--admin", "https://127.0.0.1"], "https://HOST:PORT"),
        (&["man", "paln"], "did you mean `plan`?"),
    ] {
        let ran = ringway(arguments.iter().copied());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.stderr.contains(expected), "{expected}: {ran:?}");
    }
}

#[test]
fn without_a_proxy_it_says_what_to_do() {
    let directory = program::Directory::new("no-proxy");
    let admin = format!("unix:{}", directory.path("nobody.sock"));
    let ran = ringway(["status", "--admin", &admin]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no proxy answers at unix:") && ran.stderr.contains("ringway serve"), "{ran:?}");
}

#[test]
fn shells_and_manuals_are_served() {
    for arguments in [&["completions", "bash"][..], &["completions", "zsh"], &["completions", "fish"]] {
        let script = ringway(arguments.iter().copied()).ok();
        assert!(script.contains("undrain"), "{arguments:?}: {script}");
    }
    assert!(ringway(["man"]).ok().contains("ringway\\-plan(1)"));
    assert!(ringway(["man", "plan"]).ok().contains("\\-\\-against"));
    assert!(ringway(["--version"]).ok().starts_with("ringway 0."));
}

#[test]
fn long_help_begins_with_examples() {
    for verb in [
        "serve", "check", "status", "top", "locate", "explain", "plan", "apply", "node", "ring", "events", "rollback",
        "compat", "simulate",
    ] {
        let help = ringway([verb, "--help"]).ok();
        assert!(help.starts_with("Examples:\n  ringway "), "{verb}: {help}");
        let short = ringway([verb, "-h"]).ok();
        assert!(short.len() < help.len() && !short.contains("Examples:"), "{verb}: {short}");
    }
}

/// Nothing that a script reads may hold escape sequences.
#[test]
fn off_a_terminal_there_are_no_colours() {
    for arguments in [&["plan", "-c", CONFIG, "drain", "a"][..], &["ring", "-c", CONFIG], &["plan", "--help"]] {
        let Ran { stdout, .. } = ringway(arguments.iter().copied());
        assert!(!stdout.contains('\x1b'), "{arguments:?}: {stdout:?}");
    }
}
