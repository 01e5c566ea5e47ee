//! The shape of the code as a failing test: the order of modules, purity, sizes and spelling.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// Modules that only decide: no clock, no I/O, nothing asynchronous.
const PURE: [&str; 7] = ["section", "placement", "routing", "cluster", "compat", "simulation", "import"];

/// What a pure module must not name.
const IMPURE: [&str; 9] =
    ["async", "Instant::now", "SystemTime", "hyper", "std::fs", "std::io", "std::net::Tcp", "std::thread", "tokio"];

/// Notes to oneself; spelled so that this file does not hold them.
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Lines of a file before its tests.
const PRODUCTION_LINES_MAX: usize = 500;

/// Characters of a line, as in `rustfmt.toml`, which leaves comments and strings alone.
const LINE_WIDTH_MAX: usize = 120;

#[test]
fn the_code_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let order = module_order(&fs::read_to_string(root.join("src/lib.rs")).unwrap());
    assert!(PURE.iter().all(|module| order.contains(&module.to_string())), "{order:?}");
    let mut violations = Vec::new();
    for file in ["src", "tests", "benches"].iter().flat_map(|folder| rust_files(&root.join(folder))) {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&file).unwrap();
        violations.extend(violations_of(&path, &text, &order));
    }
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// All `.rs` files below a folder, sorted; none when there is no such folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    let (folders, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.chain(folders.iter().flat_map(|folder| rust_files(folder))).collect()
}

/// The modules of `lib.rs` from the bottom of the dependency order to its top.
fn module_order(lib: &str) -> Vec<String> {
    let names = lib.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

/// What is wrong with one file, a line each: `path:line: what`.
fn violations_of(path: &str, text: &str, order: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(format!("{path}:1: the first line does not say, with `//!`, what the file is for"));
    }
    let production = production_lines(text);
    if path.starts_with("src/") && production > PRODUCTION_LINES_MAX {
        found.push(format!("{path}: {production} lines before the tests; the limit is {PRODUCTION_LINES_MAX}"));
    }
    let module = module_of(path, order);
    for (index, line) in text.lines().enumerate() {
        let mut report = |what: String| found.push(format!("{path}:{}: {what}", index + 1));
        spelling(line).into_iter().for_each(&mut report);
        let Some(module) = module else { continue };
        let code = line.split("//").next().unwrap_or_default();
        upward_uses(code, module, order).into_iter().for_each(&mut report);
        if PURE.contains(&module) && index < production {
            impurities(code, module).into_iter().for_each(&mut report);
        }
    }
    found
}

/// Lines before the `#[cfg(test)] mod tests` at the bottom.
fn production_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests"));
    tests.unwrap_or(lines.len())
}

/// The module of the library that a file belongs to; `None` for `lib.rs`, `main.rs` and what is outside
/// `src`.
fn module_of<'a>(path: &str, order: &'a [String]) -> Option<&'a str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?.trim_end_matches(".rs");
    order.iter().find(|module| *module == first).map(String::as_str)
}

fn spelling(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let width = line.chars().count();
    if width > LINE_WIDTH_MAX {
        found.push(format!("{width} characters wide; the limit is {LINE_WIDTH_MAX}"));
    }
    if line.trim_start().trim_start_matches("pub ").starts_with("use crate::{") {
        found.push("a grouped import; write one `use` a line".to_owned());
    }
    found.extend(NOTES.iter().filter(|note| names(line, note)).map(|note| format!("a `{note}`")));
    found
}

/// Uses of modules that do not stand above `module`.
fn upward_uses(code: &str, module: &str, order: &[String]) -> Vec<String> {
    let allowed = order.iter().take_while(|above| *above != module).map(String::as_str);
    let allowed: Vec<&str> = allowed.chain([module]).collect();
    let used = code.split("crate::").skip(1).map(leading_name);
    used.filter(|used| !used.is_empty() && !allowed.contains(used))
        .map(|used| format!("`{module}` uses `{used}`, which does not stand above it in src/lib.rs"))
        .collect()
}

fn impurities(code: &str, module: &str) -> Vec<String> {
    let impure = IMPURE.iter().filter(|name| names(code, name));
    impure.map(|name| format!("`{module}` is pure and must not use `{name}`")).collect()
}

/// Whether `text` holds `name`, not as the end of a longer word, and, when `name` is a plain word, not as the
/// beginning of one.
fn names(text: &str, name: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(name).any(|(at, _)| {
        let starts = !text[..at].ends_with(is_word);
        let ends = !text[at + name.len()..].starts_with(is_word);
        starts && (ends || name.ends_with("::Tcp"))
    })
}

fn leading_name(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_alphanumeric() && character != '_');
    &text[..end.unwrap_or(text.len())]
}

/// What is found in a file at `path` of a library with the modules `placement`, `routing` and `proxy`.
fn found(path: &str, text: &str) -> Vec<String> {
    violations_of(path, text, &module_order("pub mod placement;\n\npub mod routing;\npub mod proxy;\n"))
}

#[test]
fn a_tidy_file_passes() {
    let text = "//! Reads keys.\n\nuse crate::placement::Placement;\nuse crate::routing::key;\n\
                use std::net::IpAddr;\n// Not async, and nothing from crate::proxy.\nfn asynchronous() {}\n\n\
                #[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
    assert_eq!(found("src/routing/key.rs", text), Vec::<String>::new());
}

#[test]
fn each_rule_bites() {
    let long = format!("//! {}\n", "x".repeat(LINE_WIDTH_MAX - 3));
    let many = "//! Lines.\n".to_owned() + &"\n".repeat(PRODUCTION_LINES_MAX);
    let note = format!("//! A.\n// {}: later\n", NOTES[0]);
    for (path, text, expected) in [
        ("tests/a.rs", "use std::fs;\n", "tests/a.rs:1: the first line does not say"),
        ("src/main.rs", long.as_str(), "src/main.rs:1: 121 characters wide"),
        ("src/proxy.rs", many.as_str(), "src/proxy.rs: 501 lines before the tests"),
        ("src/proxy/a.rs", note.as_str(), "src/proxy/a.rs:2: a `"),
        ("src/proxy.rs", "//! A.\nuse crate::{routing};\n", "src/proxy.rs:2: a grouped import"),
        ("src/routing/a.rs", "//! A.\nuse crate::proxy::B;\n", "src/routing/a.rs:2: `routing` uses `proxy`"),
        ("src/placement.rs", "//! A.\nfn f(k: &crate::routing::K) {}\n", "src/placement.rs:2: `placement` uses"),
        ("src/routing/a.rs", "//! A.\npub async fn f() {}\n", "src/routing/a.rs:2: `routing` is pure"),
        ("src/routing/a.rs", "//! A.\nuse std::net::TcpStream;\n", "src/routing/a.rs:2: `routing` is pure"),
        ("src/routing/a.rs", "//! A.\nlet now = std::time::Instant::now();\n", "src/routing/a.rs:2: `routing` is pure"),
        ("src/placement/a.rs", "//! A.\nuse std::fs;\n", "src/placement/a.rs:2: `placement` is pure"),
        ("src/placement/a.rs", "//! A.\ntokio::spawn(f);\n", "src/placement/a.rs:2: `placement` is pure"),
    ] {
        let found = found(path, text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{path}: {text:?} gave {found:?}");
    }
}

#[test]
fn the_shell_may_do_what_pure_modules_may_not() {
    let text = "//! Serves.\n\nuse crate::routing::key;\nuse std::io;\nasync fn serve() {}\n";
    assert_eq!(found("src/proxy/server.rs", text), Vec::<String>::new());
}
