//! A configuration of another program, run by that program, and by Ringway with what `ringway import` makes of it.

use crate::harness::client::Client;
use crate::harness::nginx::Nginx;
use crate::harness::process::Process;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::story::free_ports;
use fastrand::Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

/// A program whose configurations stand in the folder of its name below `tests/live/imports`.
pub(crate) struct Original {
    /// As `ringway import` knows it.
    pub(crate) name: &'static str,
    /// Runs it on a file, and waits until it listens on these ports.
    pub(crate) start: fn(&Story, &Path, &[u16]) -> Process,
    /// Puts another address in the place of each that stands in the text of a file: [`rewrite_text`] or the like.
    pub(crate) rewrite: fn(&str, &mut Place<'_>) -> String,
}

/// Where an address of a configuration is on this machine.
pub(crate) type Place<'a> = dyn FnMut(&str) -> SocketAddr + 'a;

/// One configuration, with what is asked of it.
#[derive(Clone)]
pub(crate) struct Case {
    file: &'static str,
    listener: &'static str,
    requests: Vec<Template>,
    left_out: Vec<&'static str>,
    /// A listener of the running original and a path on it: what it answers there is imported in place of the file.
    dump: Option<(&'static str, &'static str)>,
}

/// A request, in which every `{}` stands for a random word.
#[derive(Clone)]
struct Template {
    listener: &'static str,
    path: &'static str,
    fields: &'static [(&'static str, &'static str)],
}

impl Case {
    /// A file of the program's folder; `listener` is the address in it where requests go, such as `127.0.0.1:8080`.
    pub(crate) fn new(file: &'static str, listener: &'static str) -> Case {
        Case { file, listener, requests: Vec::new(), left_out: Vec::new(), dump: None }
    }

    /// Asks for this path with these fields, `host` among them where it matters.
    pub(crate) fn ask(mut self, path: &'static str, fields: &'static [(&'static str, &'static str)]) -> Case {
        self.requests.push(Template { listener: self.listener, path, fields });
        self
    }

    /// What is asked from now on goes to this listener of the original.
    pub(crate) fn at(mut self, listener: &'static str) -> Case {
        self.listener = listener;
        self
    }

    /// Imports what the running original answers there, rather than the file.
    pub(crate) fn dumped_from(mut self, listener: &'static str, path: &'static str) -> Case {
        self.dump = Some((listener, path));
        self
    }

    /// What is left out: a part of each line of the list, in its order, such as ``line 7: `gzip` ``.
    pub(crate) fn left_out(mut self, parts: &[&'static str]) -> Case {
        self.left_out.extend(parts);
        self
    }
}

/// Runs all cases of a program, one after another, beside one set of backends.
pub(crate) fn check(story: &Story, original: &Original, cases: &[Case]) {
    let mut random = story.random();
    let folder = Folder::prepare(story, original);
    for case in cases {
        folder.check(story, original, case, &mut random);
    }
}

/// Finds every `10.X.Y.Z:PORT` and `127.X.Y.Z:PORT` in a text, and puts the address that `place` gives there.
pub(crate) fn rewrite_text(text: &str, place: &mut Place<'_>) -> String {
    let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == ':';
    let mut rewritten = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let (before, found) = rest.split_at(start);
        let (found, after) = found.split_at(found.find(|c| !is_part(c)).unwrap_or(found.len()));
        rewritten.push_str(before);
        match found.parse::<SocketAddr>() {
            Ok(_) if ["10.", "127."].iter().any(|network| found.starts_with(network)) => {
                rewritten.push_str(&place(found).to_string());
            }
            _ => rewritten.push_str(found),
        }
        rest = after;
    }
    rewritten + rest
}

/// A copy of a program's folder, in which addresses are such as this machine has.
struct Folder {
    path: PathBuf,
    /// Answer with the address in whose place they stand, for as long as this lives.
    _backends: Nginx,
    /// By the address in whose place they stand.
    listeners: BTreeMap<String, SocketAddr>,
}

impl Folder {
    /// In the place of 10.0.0.0/8 stand backends, in that of 127.0.0.0/8 free ports.
    fn prepare(story: &Story, original: &Original) -> Folder {
        let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/imports").join(original.name);
        let files: Vec<(PathBuf, String)> =
            files_below(&written).into_iter().map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect();
        let mut addresses = BTreeSet::new();
        for (_, text) in &files {
            let mut note = |address: &str| {
                addresses.insert(address.to_owned());
                SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
            };
            (original.rewrite)(text, &mut note);
        }
        let (servers, listeners): (Vec<_>, Vec<_>) = addresses.iter().partition(|address| address.starts_with("10."));
        let backends = Nginx::start(story, &servers.into_iter().map(String::as_str).collect::<Vec<_>>());
        let ports = free_ports(listeners.len()).into_iter().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let listeners: BTreeMap<String, SocketAddr> = listeners.into_iter().cloned().zip(ports).collect();
        let path = story.path(original.name);
        for (file, text) in &files {
            let mut place =
                |address: &str| listeners.get(address).copied().unwrap_or_else(|| backends.address(address));
            let copy = path.join(file.strip_prefix(&written).unwrap());
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::write(copy, (original.rewrite)(text, &mut place)).unwrap();
        }
        Folder { path, _backends: backends, listeners }
    }

    fn check(&self, story: &Story, original: &Original, case: &Case, random: &mut Rng) {
        let name = format!("{} {}", original.name, case.file);
        let file = self.path.join(case.file);
        let listeners: BTreeSet<&str> = case.requests.iter().map(|template| template.listener).collect();
        let ports: Vec<u16> = listeners.iter().map(|listener| self.listeners[*listener].port()).collect();
        let _running = (original.start)(story, &file, &ports);
        let imported = match case.dump {
            Some((listener, path)) => import(original.name, &self.dump(story, listener, path)),
            None => import(original.name, &file),
        };
        compare_lists(&name, &imported["left_out"], &case.left_out);
        let (config, pools) = served_here(imported["config"].as_str().unwrap());
        let config = story.write("imported.toml", &config);
        let checked = ringway::run(&["check", "-c", config.to_str().unwrap()], "");
        assert_eq!(checked.code, 0, "{name}: {}{}", checked.stdout, checked.stderr);
        let mut through_ringway = Ringway::serve(story, &config);
        self.compare(&name, case, &mut through_ringway, random);
        let left_out = case.left_out.len();
        story.figure(&format!("{REQUESTS} of {REQUESTS} requests alike: {name} ({pools} pools, {left_out} left out)"));
    }

    /// What the running original answers there, in a file.
    fn dump(&self, story: &Story, listener: &str, path: &str) -> PathBuf {
        let answer = Client::new(self.listeners[listener]).get(path, &[]).unwrap();
        assert_eq!(answer.status, 200, "{listener}{path}: {}", answer.text());
        story.write("dump.json", &answer.text())
    }

    fn compare(&self, name: &str, case: &Case, proxy: &mut Ringway, random: &mut Rng) {
        let mut through_ringway = proxy.client();
        let mut through_original: BTreeMap<&str, Client> = BTreeMap::new();
        let mut words = Words { random, known: Vec::new() };
        let mut answering = BTreeSet::new();
        for template in case.requests.iter().cycle().take(REQUESTS) {
            let path = words.fill(template.path);
            let fields: Vec<_> = template.fields.iter().map(|(field, value)| (*field, words.fill(value))).collect();
            let fields: Vec<_> = fields.iter().map(|(field, value)| (*field, value.as_str())).collect();
            let original = || Client::new(self.listeners[template.listener]);
            let original = through_original.entry(template.listener).or_insert_with(original);
            let ask = |client: &mut Client, who: &str| {
                let answer = client.get(&path, &fields);
                let answer = answer.unwrap_or_else(|error| panic!("{name}: {who}: {path} with {fields:?}: {error}"));
                let text = answer.text();
                assert_eq!(answer.status, 200, "{name}: {who}: {path} with {fields:?}: {text}");
                text
            };
            let (expected, found) = (ask(original, "the original"), ask(&mut through_ringway, "Ringway"));
            assert_eq!(found, expected, "{name}: {path} with {fields:?}");
            answering.insert(found);
        }
        assert!(answering.len() > 1, "{name}: all requests went to {answering:?}, which shows nothing");
    }
}

/// Random words, some of them again and again, as keys come.
struct Words<'a> {
    random: &'a mut Rng,
    known: Vec<String>,
}

impl Words<'_> {
    fn fill(&mut self, template: &str) -> String {
        let mut parts = template.split("{}");
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            filled.push_str(&self.word());
            filled.push_str(part);
        }
        filled
    }

    fn word(&mut self) -> String {
        if self.random.u8(0..4) == 0
            && let Some(word) = self.random.choice(&self.known)
        {
            return word.clone();
        }
        let length = self.random.usize(1..12);
        let word: String = (0..length).map(|_| self.random.alphanumeric()).collect();
        self.known.push(word.clone());
        word
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let (folders, files): (Vec<_>, Vec<_>) = entries.map(|entry| entry.unwrap().path()).partition(|path| path.is_dir());
    files.into_iter().chain(folders.iter().flat_map(|folder| files_below(folder))).collect()
}

/// What `ringway import --json` prints.
fn import(program: &str, file: &Path) -> Value {
    let printed = ringway::run(&["import", "--json", program, file.to_str().unwrap()], "");
    assert_eq!(printed.code, 0, "{program} {}: {}", file.display(), printed.stderr);
    serde_json::from_str(&printed.stdout).unwrap()
}

/// Holds each line of the list against a part of it, so that nothing is left out that nobody expects.
fn compare_lists(name: &str, left_out: &Value, parts: &[&str]) {
    let line = |left_out: &Value| {
        let text = |member: &str| left_out[member].as_str().unwrap();
        format!("{}: `{}`: {}", text("place"), text("what"), text("why"))
    };
    let lines: Vec<String> = left_out.as_array().unwrap().iter().map(line).collect();
    let alike = lines.len() == parts.len() && lines.iter().zip(parts).all(|(line, part)| line.contains(part));
    assert!(alike, "{name} leaves out\n{}\nand should leave out\n{}", lines.join("\n"), parts.join("\n"));
}

/// The config with nothing changed but where it listens and what it keeps, and the number of its pools.
fn served_here(config: &str) -> (String, usize) {
    let mut config: toml::Table = config.parse().unwrap_or_else(|error| panic!("{error} in\n{config}"));
    let own: toml::Table = OWN.parse().unwrap();
    config.extend(own);
    let pools = config["pool"].as_array().unwrap().len();
    (config.to_string(), pools)
}

const OWN: &str = r#"listen = "127.0.0.1:0"
admin = { listen = "127.0.0.1:0" }
store = { kind = "memory" }
"#;

const REQUESTS: usize = 2_000;
