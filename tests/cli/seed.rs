//! Pools whose keys are hashed with a secret: every verb that reads the file follows it, and none shows it.

use crate::CONFIG;
use crate::program::Directory;
use crate::program::ringway;
use serde_json::Value;
use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

const SEEDS: [&str; 2] = ["9f3c01d2a4b5e6770f1e2d3c4b5a6978", "0123456789abcdef0123456789abcdef"];

/// The config of the other tests with this seed, in a file that only its owner may read.
fn seeded(directory: &Directory, name: &str, seed: &str) -> String {
    let seed_file = directory.file(&format!("{name}.seed"), &format!("{seed}\n"));
    fs::set_permissions(&seed_file, Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(CONFIG).unwrap();
    let text = text.replace("name = \"rooms\"", &format!("name = \"rooms\"\nseed-file = \"{seed_file}\""));
    directory.file(&format!("{name}.toml"), &text)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn keys_are_elsewhere_with_a_seed() {
    let directory = Directory::new("seed-locate");
    let [first, second] = [0, 1].map(|number| seeded(&directory, &format!("s{number}"), SEEDS[number]));
    let hash = |config: &str| json(&ringway(["locate", "-c", config, "--json", "room-42"]).ok())["hash"].clone();
    let hashes = [CONFIG, &first, &second].map(hash);
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2], "{hashes:?}");
    let explained = json(&ringway(["explain", "-c", &first, "--json", "http://h/ws?room=room-42"]).ok());
    assert_eq!(explained["hash"], hashes[1], "{explained}");
    let simulated = ringway(["simulate", "-c", &first, "--seeds", "1"]).ok();
    assert!(simulated.contains("seeded"), "{simulated}");
}

#[test]
fn a_plan_shows_what_giving_changing_or_taking_a_seed_moves() {
    let directory = Directory::new("seed-plan");
    let [first, second] = [0, 1].map(|number| seeded(&directory, &format!("s{number}"), SEEDS[number]));
    for (new, old) in [(first.as_str(), CONFIG), (&second, &first), (CONFIG, &first)] {
        let ran = ringway(["plan", "-c", new, "--against", old, "--json"]);
        assert!(ran.stderr.contains("every key is placed anew"), "{ran:?}");
        let plan = json(&ran.ok());
        // The weights are 1, 2 and 1: all but 1/16 + 1/4 + 1/16 of the keys, about, get another node.
        let moved = plan["moved_ratio"].as_f64().unwrap();
        assert!((0.55..0.7).contains(&moved), "{new} against {old}: {plan}");
        assert_ne!(plan["fingerprint_before"], plan["fingerprint_after"], "{plan}");
    }
    let same = ringway(["plan", "-c", &first, "--against", &first]).ok();
    assert!(same.contains("moves 0 %") && same.contains("nothing to do"), "{same}");
}

#[test]
fn check_warns_of_a_file_that_all_can_read_and_shows_its_name_only() {
    let directory = Directory::new("seed-check");
    let config = seeded(&directory, "s", SEEDS[0]);
    assert_eq!(ringway(["check", "-c", &config]).stderr, "");
    let seed_file = directory.path("s.seed");
    fs::set_permissions(&seed_file, Permissions::from_mode(0o644)).unwrap();
    let ran = ringway(["check", "-c", &config]);
    assert!(ran.stderr.contains("every user of this machine can read the seed file"), "{ran:?}");
    let effective = ringway(["check", "-c", &config, "--effective"]).ok();
    assert!(effective.contains(&format!("seed-file = \"{seed_file}\"")), "{effective}");
    let again = directory.file("effective.toml", &effective);
    assert!(ringway(["check", "-c", &again]).ok().contains("ok, 1 pool"));
    for shown in [&ran.stdout, &ran.stderr, &effective] {
        assert!(!shown.contains(SEEDS[0]), "{shown}");
    }
}
