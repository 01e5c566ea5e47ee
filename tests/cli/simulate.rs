//! `ringway simulate`: what it prints, what it reads, and what it refuses.

use crate::CONFIG;
use crate::program;
use crate::program::Directory;
use crate::program::ringway;
use serde_json::Value;

/// Small placements, so that the tests are quick.
const SMALL: [&str; 4] = ["--placement", "ring vnodes=32", "--placement", "table slots=1024"];

fn simulated<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Value {
    let ran = ringway(["simulate", "--json"].into_iter().chain(arguments)).ok();
    serde_json::from_str(&ran).unwrap_or_else(|error| panic!("{error}: {ran}"))
}

#[test]
fn the_usual_placements_stand_side_by_side() {
    let told = ringway(["simulate", "--seeds", "2"]);
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{told:?}");
    assert!(told.stdout.starts_with("10 nodes of weight 1; means over 2 seeds; exact shares\n"), "{}", told.stdout);
    for kind in ["ring", "table", "nginx", "haproxy", "haproxy weights=x10", "envoy-ring-hash", "envoy-maglev"] {
        let rows = told.stdout.lines().filter(|line| line.starts_with(&format!("{kind}  ")));
        assert_eq!(rows.count(), 3, "{kind}: {}", told.stdout);
    }
    assert!(told.stdout.lines().all(|line| line.chars().count() <= 120), "{}", told.stdout);
}

#[test]
fn the_same_command_says_the_same() {
    let command = ["simulate", "--nodes", "5,8", "--seeds", "2", "--keys", "zipf:1.1,500,2000", "--json"];
    let [first, second] = [(), ()].map(|()| ringway(command.into_iter().chain(SMALL)).ok());
    assert_eq!(first, second);
}

#[test]
fn json_has_every_figure_with_its_worst() {
    let told = simulated(
        ["--nodes", "4", "--weights", "1..2", "--seeds", "3", "--change", "add,remove-10%"].into_iter().chain(SMALL),
    );
    assert_eq!((&told["seeds"], &told["keys"]), (&3.into(), &"exact".into()));
    let of_pool = &told["simulations"][0];
    assert_eq!((&of_pool["nodes"], &of_pool["weights"]), (&4.into(), &"1..2".into()));
    let ring = &of_pool["placements"][0];
    assert_eq!(ring["placement"], "ring vnodes=32");
    for figure in ["peak_to_average", "least_to_average", "cv", "failover_spread", "reversibility", "agreement"] {
        for part in ["mean", "p95", "worst"] {
            assert!(ring[figure][part].is_f64(), "{figure} {part}: {ring}");
        }
    }
    let changes: Vec<&Value> = ring["changes"].as_array().unwrap().iter().map(|change| &change["change"]).collect();
    assert_eq!(changes, ["add", "remove-10%"]);
    let add = &ring["changes"][0];
    assert_eq!((&add["collateral"]["worst"], &add["structural_excess"]["worst"]), (&0.0.into(), &1.0.into()));
    assert!(add["movement_ratio"]["mean"].as_f64().unwrap() > 0.5, "{add}");
    assert_eq!(ring["nodes"].as_array().unwrap().len(), 4);
}

#[test]
fn the_nodes_may_be_those_of_a_pool_or_given() {
    let of_pool = simulated(["-c", CONFIG, "--seeds", "1"].into_iter().chain(SMALL));
    let nodes = &of_pool["simulations"][0]["placements"][0]["nodes"];
    assert_eq!((&nodes[1]["name"], &nodes[1]["entitlement"]), (&"b".into(), &0.5.into()), "{nodes}");
    let given = simulated(["--seeds", "1", "a=10.0.0.1:80", "b=10.0.0.2:80,weight=3"].into_iter().chain(SMALL));
    assert_eq!(given["simulations"][0]["weights"], "1..3");
    let with_a_drained_one = ["--seeds", "3", "a=10.0.0.1:80", "b=10.0.0.2:80", "c=10.0.0.3:80,weight=0"];
    let of_two = &simulated(with_a_drained_one.into_iter().chain(SMALL))["simulations"][0];
    assert_eq!((&of_two["nodes"], &of_two["weights"]), (&2.into(), &"1".into()), "no weight, no keys");
}

#[test]
fn keys_come_from_files_and_access_logs() {
    let directory = Directory::new("simulate-keys");
    let keys = directory.file("keys.txt", "a\nb\r\n\nb\nc\n");
    let from_file = format!("file:{keys}");
    let ran =
        ringway(["simulate", "--json", "--nodes", "2", "--seeds", "1", "--keys", &from_file, "--placement", "ring"]);
    assert_eq!(ran.stderr, format!("1 of 5 lines of {keys} have no key\n"));
    let told: Value = serde_json::from_str(&ran.ok()).unwrap();
    let shares = told["simulations"][0]["placements"][0]["nodes"].as_array().unwrap().clone();
    let quarters: Vec<f64> = shares.iter().map(|node| node["share"].as_f64().unwrap() * 4.0).collect();
    assert!(quarters.iter().all(|share| share.fract() == 0.0), "each key counts as often as it comes: {quarters:?}");

    let line =
        |path| format!("10.0.0.9 - - [27/Nov/2026:06:47:40 +0000] \"GET {path} HTTP/1.1\" 200 17 \"-\" \"curl\"\n");
    let log: String = ["/a", "/b", "/a"].map(line).concat();
    // No referer was sent, which is no key.
    let by_referer = ["simulate", "--keys", "log:-", "--key-column", "8"];
    let ran = program::with_input(by_referer, log.as_bytes());
    assert!(ran.stderr.contains("none of its 3 lines has one"), "{ran:?}");
    let by_path = ["simulate", "--nodes", "2", "--seeds", "1", "--keys", "log:-", "--key-column", "5.2"];
    let ran = program::with_input(by_path.into_iter().chain(SMALL), log.as_bytes()).ok();
    assert!(ran.starts_with("2 nodes of weight 1; means over 1 seed; keys log:-\n"), "{ran}");
    assert!(ran.contains("\nthese keys alone make a CV of 74.5 %, however fair the placement\n"), "{ran}");
}

#[test]
fn what_the_pool_itself_has_is_not_left_out() {
    let directory = Directory::new("simulate-own");
    let config = |ids: [&str; 3]| {
        let node = |(number, id)| {
            format!("{{ name = 'b{number}', address = '10.0.0.{number}:80', weight = 200, placement-id = '{id}' }}")
        };
        let nodes: Vec<String> = (1..).zip(ids).map(node).collect();
        let text = format!(
            "listen = ':0'\n[store]\nkind = 'memory'\n[[pool]]\nname = 'app'\nkey = 'path'\nplacement = 'haproxy'\n\
             nodes = [{}]\n",
            nodes.join(", ")
        );
        directory.file("ringway.toml", &text)
    };
    // Ids and weights that leave newcomers and changes little room.
    let ran = ringway(["simulate", "-c", &config(["11", "12", "13"]), "--seeds", "10", "--change", "add,reweight"]);
    assert!(ran.code == Some(0) && ran.stdout.contains("\nhaproxy  "), "{ran:?}");
    assert!(!ran.stderr.contains("left out: `haproxy` "), "{ran:?}");
}

#[test]
fn a_change_that_the_pool_itself_cannot_take_is_an_error() {
    let directory = Directory::new("simulate-own-refused");
    let text = "listen = ':0'\n[store]\nkind = 'memory'\n[[pool]]\nname = 'app'\nkey = 'path'\n\
                placement = 'table slots=256'\nnodes = [{ name = 'a', address = '10.0.0.1:80', weight = 3 }, \
                { name = 'b', address = '10.0.0.2:80' }]\n";
    let ran = ringway(["simulate", "-c", &directory.file("ringway.toml", text), "--seeds", "3"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    assert!(ran.stderr.contains("`table slots=256` at 2 nodes: `slots` is 256, of which node `b` is"), "{ran:?}");
}

#[test]
fn plots_are_one_picture_with_words_for_those_who_do_not_see_it() {
    let picture = ringway(["simulate", "--svg", "--nodes", "3,6", "--seeds", "1"].into_iter().chain(SMALL)).ok();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{picture}");
    for part in ["<title id=\"title\">", "3 nodes. ring vnodes=32: the busiest node has", "prefers-color-scheme: dark"]
    {
        assert!(picture.contains(part), "{part}: {picture}");
    }
    let outside = ["http://", "https://", "<script", "<image", "url("].map(|part| picture.matches(part).count());
    assert_eq!(outside, [1, 0, 0, 0, 0], "only the namespace: {picture}");
}

#[test]
fn what_does_not_fit_is_left_out_only_where_nobody_asked_for_it() {
    let usual = ringway(["simulate", "--nodes", "2", "--weights", "300", "--seeds", "1", "--change", "add"]);
    assert_eq!(usual.code, Some(0), "{usual:?}");
    assert!(usual.stderr.contains("left out: `haproxy` at 2 nodes: node `node-0001` has weight 300"), "{usual:?}");
    let asked = ringway(["simulate", "--nodes", "2", "--weights", "300", "--placement", "haproxy"]);
    assert_eq!((asked.code, asked.stdout.as_str()), (Some(2), ""), "{asked:?}");
    assert!(asked.stderr.contains("`haproxy` at 2 nodes: node `node-0001` has weight 300"), "{asked:?}");
}

#[test]
fn mistakes_say_what_to_do() {
    let directory = Directory::new("simulate-mistakes");
    let empty = format!("file:{}", directory.file("empty.txt", ""));
    let blank = format!("log:{}", directory.file("blank.txt", "a b\nc d\n"));
    let packed = |kind: &str| format!("{kind}:{}", directory.file("keys.xz", b"\xfd7zXZ\0"));
    for (arguments, code, expected) in [
        (&["--placement", "rign"][..], 2, "did you mean `ring`?"),
        (&["--placement", "table slots=256", "--nodes", "100"], 2, "`table slots=256` at 100 nodes: `slots` is 256"),
        (&["--nodes", "1"], 2, "2..=10000"),
        (&["--nodes", "3", "a=10.0.0.1:80"], 2, "cannot be used with"),
        (&["a=10.0.0.1:80"], 2, "needs two nodes at least"),
        (&["a=10.0.0.1:80", "b=10.0.0.2:80,weight=0"], 2, "needs two nodes at least that have weight"),
        (&["a=10.0.0.1:80", "b"], 2, "NAME=ADDRESS"),
        (&["--pool", "rooms"], 2, "give that with -c"),
        (&["--weights", "5..1"], 2, "`5..1` are no weights"),
        (&["--change", "drop"], 2, "`drop` is no change; use some of add, remove"),
        (&["--keys", "unifrom:5"], 2, "write exact, uniform:N"),
        (&["--keys", "log:x"], 2, "needs --key-column"),
        (&["--key-column", "3"], 2, "is for --keys log:PATH"),
        (&["--keys", "file:/nonexistent"], 2, "cannot read /nonexistent: No such file"),
        (&["--keys", &packed("file"), "--nodes", "3"], 2, "is compressed; pipe what `xzcat /"),
        (&["--keys", &packed("log"), "--key-column", "1"], 2, "is compressed; pipe what `xzcat /"),
        (&["--keys", &empty], 1, "has no keys: it is empty"),
        (&["--keys", &blank, "--key-column", "3"], 1, "has no keys: none of its 2 lines has one"),
    ] {
        let ran = ringway(["simulate"].into_iter().chain(arguments.iter().copied()));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{ran:?}");
        assert!(ran.stderr.contains(expected), "{expected}: {ran:?}");
    }
}
