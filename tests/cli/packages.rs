//! What packages are made of. `packaging/check` installs and runs the packages themselves.

use crate::program::Directory;
use crate::program::ringway;
use std::fs;
use std::path::Path;
use std::process::Command;

const SOURCES: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_config_of_the_packages_is_right_and_waits_for_nodes() {
    let file = format!("{SOURCES}/packaging/ringway.toml");
    let said = ringway(["check", "-c", &file]).ok();
    assert!(said.contains("ok, 1 pool, 0 nodes") && said.contains("answered with 503"), "{said}");
}

#[test]
fn the_long_version_tells_what_the_program_was_built_from() {
    let long = ringway(["--version"]).ok();
    assert!(long.contains(" (") && long.contains(", rustc 1."), "{long}");
    let short = ringway(["-V"]).ok();
    assert_eq!(short, format!("ringway {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn whatever_the_debian_package_takes_from_the_sources_is_there() {
    let manifest: toml::Value = toml::from_str(&read("Cargo.toml")).unwrap();
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets = deb["assets"].as_array().unwrap().iter().map(|asset| asset[0].as_str().unwrap());
    let sources: Vec<&str> = assets.filter(|source| !source.starts_with("target/")).collect();
    assert!(!sources.is_empty());
    let units = ["ringway.service", "ringway@.service", "ringway.sysusers"];
    let units = units.map(|unit| format!("{}/{unit}", deb["maintainer-scripts"].as_str().unwrap()));
    for source in sources.into_iter().chain(units.iter().map(String::as_str)) {
        assert!(!read(source).is_empty(), "{source}");
    }
}

#[test]
fn whatever_the_container_takes_from_the_sources_is_there() {
    let text = read("packaging/Containerfile");
    let copies = text.lines().filter_map(|line| line.strip_prefix("COPY packaging/"));
    let sources: Vec<&str> = copies.map(|rest| rest.split(' ').next().unwrap()).collect();
    assert_eq!(sources, ["ringway.toml"]);
    let rust = read("rust-toolchain.toml");
    let channel = rust.lines().find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"')).unwrap();
    let image = format!("rust:{channel}-alpine");
    assert!(text.contains(&image) && text.contains(&format!("RUSTUP_TOOLCHAIN={channel} ")), "{channel}:\n{text}");
}

#[test]
fn every_verb_has_a_manual_page_in_the_packages() {
    let folder = Directory::new("generated");
    let ran = Command::new(format!("{SOURCES}/packaging/generate"))
        .args([env!("CARGO_BIN_EXE_ringway"), &folder.path("package")])
        .env("SOURCE_DATE_EPOCH", "0")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let help = ringway(["--help"]).ok();
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What a verb does may take several lines.
    let verbs = verbs.filter(|line| !line.starts_with("   "));
    let verbs: Vec<&str> =
        verbs.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help").collect();
    assert!(verbs.contains(&"plan"), "{help}");
    for verb in verbs {
        let packed = folder.path(&format!("package/man/ringway-{verb}.1.gz"));
        let page = Command::new("gzip").args(["-dc", &packed]).output().unwrap().stdout;
        assert!(String::from_utf8_lossy(&page).contains("\n.SH NAME\n"), "{verb}");
    }
    for file in ["man/ringway.1.gz", "completions/_ringway", "completions/ringway.bash", "completions/ringway.fish"] {
        assert!(fs::metadata(folder.path(&format!("package/{file}"))).is_ok_and(|file| file.len() > 0), "{file}");
    }
}

fn read(file: &str) -> String {
    let path = Path::new(SOURCES).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
