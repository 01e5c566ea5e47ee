//! The config file as users meet it: the files that ship, and what wrong files are answered with.

use ringway::config;
use ringway::config::Config;
use ringway::config::Flags;
use ringway::control::settings::Owner;
use ringway::store::settings::StoreKind;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

const REFERENCE: &str = include_str!("../config/ringway.toml");
const README: &str = include_str!("../README.md");
const MINIMAL: &str = include_str!("../config/minimal.toml");

#[test]
fn the_shipped_files_are_right() {
    for (file, text) in [("ringway.toml", REFERENCE), ("minimal.toml", MINIMAL)] {
        parse(file, text);
    }
}

#[test]
fn the_reference_with_every_setting_switched_on_is_right_too() {
    parse("ringway.toml", &switched_on(REFERENCE));
}

#[test]
fn the_reference_shows_every_setting_the_reader_knows() {
    let shown = names_in(&switched_on(REFERENCE));
    let missing: Vec<String> = config::setting_names().into_iter().filter(|name| !shown.contains(name)).collect();
    assert!(missing.is_empty(), "config/ringway.toml does not show {missing:?}");
}

#[test]
fn the_reference_stands_at_the_defaults() {
    let reference = parse("ringway.toml", REFERENCE);
    let minimal = parse("minimal.toml", MINIMAL);
    assert_eq!(reference.server, minimal.server);
    assert_eq!(reference.admin, minimal.admin);
    assert_eq!(reference.access_log, minimal.access_log);
    assert_eq!(reference.store, minimal.store);

    let (shown, default) = (&reference.pools[0], &minimal.pools[0]);
    assert_eq!(shown.settings.no_key, default.settings.no_key);
    assert_eq!(shown.settings.max_key_body, default.settings.max_key_body);
    assert_eq!(shown.settings.key_body_over, default.settings.key_body_over);
    assert_eq!(shown.settings.max_replay_body, default.settings.max_replay_body);
    assert_eq!(shown.settings.host, default.settings.host);
    assert_eq!(shown.settings.decision_headers, default.settings.decision_headers);
    assert_eq!(shown.settings.max_idle_connections, default.settings.max_idle_connections);
    assert_eq!(shown.settings.max_attempts, default.settings.max_attempts);
    assert_eq!(shown.settings.protocol, default.settings.protocol);
    assert_eq!(shown.settings.retry_budget, default.settings.retry_budget);
    assert_eq!(shown.source.membership.placement, default.source.membership.placement);
    let default_timeouts = default.settings.timeouts;
    let shown_timeouts = shown.settings.timeouts;
    assert_eq!(shown_timeouts.connect, default_timeouts.connect);
    assert_eq!(shown_timeouts.head, default_timeouts.head);
    assert_eq!(shown_timeouts.idle, default_timeouts.idle);
    assert_eq!(shown_timeouts.idle_connection, default_timeouts.idle_connection);
}

#[test]
fn the_effective_config_reads_back_to_itself() {
    for text in
        [REFERENCE, MINIMAL, &switched_on(REFERENCE), &MINIMAL.replace("\"rooms\"", "\"rooms\"\nhash-tag = '$$>'")]
    {
        let config = parse("original", text);
        let printed = config.to_toml();
        assert_eq!(parse("printed", &printed), config, "{printed}");
    }
}

#[test]
fn each_wrong_file_is_answered_as_written_beside_it() {
    let mut differing = Vec::new();
    let samples = bad_samples();
    assert!(samples.len() >= 12, "{samples:?}");
    for sample in samples {
        let name = sample.file_name().and_then(|name| name.to_str()).unwrap();
        let text = std::fs::read_to_string(&sample).unwrap();
        let answer = match Config::parse_with(name, &text, &|_| None) {
            Ok(config) => panic!("{name} is accepted: {config:?}"),
            Err(errors) => format!("{errors}\n"),
        };
        let golden = sample.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &answer).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if answer != expected {
            differing.push(format!("--- {name}, expected\n{expected}--- {name}, answered\n{answer}"));
        }
    }
    assert!(differing.is_empty(), "{}\nrewrite with UPDATE_GOLDEN=1, then review", differing.join("\n"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/nonexistent/ringway.toml")).unwrap_err().to_string();
    assert!(error.contains("`/nonexistent/ringway.toml`"), "{error}");
}

#[test]
fn variables_are_taken_from_the_environment_given() {
    let text = MINIMAL.replace("10.0.0.10:3000", "${BACKEND}:3000");
    let environment = |name: &str| (name == "BACKEND").then(|| "192.0.2.1".to_owned());
    let config = Config::parse_with("minimal.toml", &text, &environment).unwrap();
    let nodes = config.pools[0].source.membership.nodes();
    assert_eq!(nodes[0].address.to_string(), "192.0.2.1:3000");
}

#[test]
fn the_owner_follows_from_the_setting_that_lists_the_nodes() {
    let reference = parse("ringway.toml", REFERENCE);
    assert_eq!(reference.pool("rooms").unwrap().source.owner, Owner::Store);
    assert_eq!(reference.pool("images").unwrap().source.owner, Owner::File);
    assert_eq!(reference.pool("unheard-of"), None);
}

#[test]
fn flags_make_a_config_in_memory() {
    let config = from_flags(&["header:x-room"], &["a=10.0.0.10:3000", "b=10.0.0.11:3000,weight=2,zone=b"]).unwrap();
    assert_eq!(config.server.listen[0].address, "0.0.0.0:8080".parse().unwrap());
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9080");
    assert_eq!(config.store.kind, StoreKind::Memory);
    let pool = config.pool("default").unwrap();
    assert_eq!(pool.source.owner, Owner::Store);
    let nodes = pool.source.membership.nodes();
    assert_eq!((nodes.len(), nodes[1].weight, nodes[1].zone.as_deref()), (2, 2, Some("b")));
}

#[test]
fn a_wrong_flag_is_named() {
    for (key, node, expected) in [
        ("heder:x-room", "a=10.0.0.10:3000", "--key: "),
        ("header:x-room", "10.0.0.10:3000", "NAME=ADDRESS"),
        ("header:x-room", "b=10.0.0.10:3000", "already has a node `b`"),
    ] {
        let error = from_flags(&[key], &["b=10.0.0.11:3000", node]).unwrap_err();
        assert!(error.contains(expected), "{key} {node}: {error}");
    }
}

#[test]
fn what_a_reload_cannot_change_is_named() {
    let running = parse("minimal.toml", MINIMAL);
    let reloadable = "trusted-proxies = ['10.0.0.0/8']\ngrace = '5s'\n[limits]\nmax-headers = 50\n[[pool]]";
    let new = parse("new", &MINIMAL.replace("[[pool]]", reloadable).replace("10.0.0.10", "10.0.0.20"));
    assert_eq!(running.differences_that_need_restart(&new), Vec::<&str>::new());

    let introduced = "[{ address = ':8080', proxy-protocol = ['10.0.0.0/8'] }]";
    let new = parse("new", &MINIMAL.replace("\":8080\"", introduced));
    assert!(new.server.listen[0].proxy_protocol.is_some());
    assert_eq!(running.differences_that_need_restart(&new), Vec::<&str>::new());

    let restart = "workers = 2\nadmin.listen = ':0'\nadmin.token-file = '/t'\nmetrics.listen = ':0'\n\
                   access-log.path = '-'\nstore.kind = 'memory'\n[[pool]]";
    let new = parse("new", &MINIMAL.replace("[[pool]]", restart).replace(":8080", ":8081"));
    assert_eq!(
        running.differences_that_need_restart(&new),
        ["the addresses of listen", "workers", "[admin]", "[metrics]", "[access-log]", "[store]"]
    );
}

fn parse(file: &str, text: &str) -> Config {
    Config::parse_with(file, text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}

fn from_flags(key: &[&str], nodes: &[&str]) -> Result<Config, String> {
    let owned = |texts: &[&str]| -> Vec<String> { texts.iter().map(|&text| text.to_owned()).collect() };
    let (listen, key, nodes) = (owned(&[":8080"]), owned(key), owned(nodes));
    Config::from_flags(&Flags { listen: &listen, admin_listen: None, key: &key, nodes: &nodes })
}

/// The reference marks a setting that is off by `#` without a blank; this switches all of them on. The seed file, which
/// is read with the config, is one that is there.
fn switched_on(reference: &str) -> String {
    let switch = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting.to_owned(),
        _ => line.to_owned(),
    };
    let seed_file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/rooms.seed");
    let switched: String = reference.lines().map(|line| switch(line) + "\n").collect();
    switched.replace("/etc/ringway/rooms.seed", seed_file)
}

/// The full name of each setting in a file, lists of tables counted as one table.
fn names_in(text: &str) -> BTreeSet<String> {
    fn walk(prefix: &str, value: &toml::Value, names: &mut BTreeSet<String>) {
        match value {
            toml::Value::Table(table) => {
                for (name, value) in table {
                    let full_name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    walk(&full_name, value, names);
                    names.insert(full_name);
                }
            }
            toml::Value::Array(elements) => elements.iter().for_each(|element| walk(prefix, element, names)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    walk("", &toml::Value::Table(text.parse().expect("the text is TOML")), &mut names);
    names
}

fn bad_samples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/bad");
    let entries = std::fs::read_dir(directory).expect("the samples are in the repository");
    let mut samples: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    samples.sort();
    samples
}

#[test]
fn every_recipe_of_the_readme_is_a_valid_file() {
    let recipes: Vec<&str> = README.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(recipes.len() >= 3, "{recipes:#?}");
    for recipe in recipes {
        parse("README.md", recipe);
    }
}
