//! The sections of a HAProxy configuration, and which defaults each inherits.

use crate::import::Unreadable;
use crate::import::haproxy::words::Line;
use std::collections::HashMap;

/// What a section is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Backend,
    Defaults,
    Frontend,
    Global,
    Listen,
    /// None of a proxy: `peers`, `resolvers` and so on.
    Other,
}

/// A section with its own lines.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) kind: Kind,
    /// The line that begins it.
    pub(super) head: Line,
    pub(super) lines: Vec<Line>,
    /// The index of the defaults that it inherits.
    pub(super) parent: Option<usize>,
}

impl Section {
    /// Its name; empty where it has none.
    pub(super) fn name(&self) -> &str {
        match self.head.word(1) {
            "from" if self.kind == Kind::Defaults => "",
            name => name,
        }
    }

    /// Whether clients connect to it.
    pub(super) fn takes_clients(&self) -> bool {
        matches!(self.kind, Kind::Frontend | Kind::Listen)
    }

    /// Whether it has servers.
    pub(super) fn has_servers(&self) -> bool {
        matches!(self.kind, Kind::Backend | Kind::Listen)
    }
}

/// Groups lines to sections.
pub(super) fn split(lines: Vec<Line>) -> Result<Vec<Section>, Unreadable> {
    let mut sections = Sections::default();
    for line in lines {
        if line.word(0).starts_with('.') {
            let why = format!(
                "`{}` lets HAProxy's version and environment decide what is read; leave in the file what applies, and \
                 import again",
                line.word(0)
            );
            return Err(line.unreadable(why));
        }
        match kind(line.word(0)) {
            Some(kind) => sections.begin(kind, line)?,
            None => match sections.list.last_mut() {
                Some(section) => section.lines.push(line),
                None => {
                    return Err(line.unreadable(format!(
                        "`{}` begins no section; `global`, `defaults`, `frontend`, `backend` and `listen` are some",
                        line.word(0)
                    )));
                }
            },
        }
    }
    Ok(sections.list)
}

#[derive(Default)]
struct Sections {
    list: Vec<Section>,
    /// The defaults that a section without `from` inherits.
    latest_defaults: Option<usize>,
    defaults: HashMap<String, usize>,
    /// The lines of the names that are taken, of those that clients connect to and of those with servers.
    taken: [HashMap<String, usize>; 2],
}

impl Sections {
    fn begin(&mut self, kind: Kind, head: Line) -> Result<(), Unreadable> {
        let parent = self.parent(kind, &head)?;
        let section = Section { kind, head, lines: Vec::new(), parent };
        match kind {
            Kind::Defaults => {
                self.latest_defaults = Some(self.list.len());
                self.defaults.insert(section.name().to_owned(), self.list.len());
            }
            Kind::Backend | Kind::Frontend | Kind::Listen => self.take_name(&section)?,
            Kind::Global | Kind::Other => {}
        }
        self.list.push(section);
        Ok(())
    }

    fn parent(&self, kind: Kind, head: &Line) -> Result<Option<usize>, Unreadable> {
        let (latest, from) = match kind {
            Kind::Global | Kind::Other => return Ok(None),
            Kind::Defaults if head.word(1) == "from" => (None, head.after(1)),
            Kind::Defaults => (None, head.after(2)),
            Kind::Backend | Kind::Frontend | Kind::Listen => (self.latest_defaults, head.after(2)),
        };
        match from {
            [] => Ok(latest),
            [word, name] if word == "from" => {
                let found = self.defaults.get(name).copied();
                let why = || head.unreadable(format!("there is no `defaults {name}` above this line"));
                found.map(Some).ok_or_else(why)
            }
            [word, ..] => Err(head.unreadable(format!(
                "`{word}` cannot stand here; behind the name only `from DEFAULTS` can, and addresses in `bind` lines"
            ))),
        }
    }

    fn take_name(&mut self, section: &Section) -> Result<(), Unreadable> {
        let (head, name) = (&section.head, section.name());
        if name.is_empty() {
            return Err(head.unreadable(format!("`{}` has no name", head.word(0))));
        }
        if let Some(c) = forbidden(name) {
            return Err(head.unreadable(format!("the name holds {c:?}; HAProxy takes letters, digits and `.:_-`")));
        }
        for (taken, is_one) in self.taken.iter_mut().zip([section.takes_clients(), section.has_servers()]) {
            let Some(line) = is_one.then(|| taken.insert(name.to_owned(), head.number)).flatten() else { continue };
            return Err(head.unreadable(format!("there is another `{name}` at line {line}; HAProxy refuses that")));
        }
        Ok(())
    }
}

/// The first character that HAProxy takes in no name.
pub(super) fn forbidden(name: &str) -> Option<char> {
    name.chars().find(|c| !c.is_ascii_alphanumeric() && !".:_-".contains(*c))
}

fn kind(keyword: &str) -> Option<Kind> {
    Some(match keyword {
        "backend" => Kind::Backend,
        "defaults" => Kind::Defaults,
        "frontend" => Kind::Frontend,
        "global" => Kind::Global,
        "listen" => Kind::Listen,
        keyword if OTHERS.contains(&keyword) => Kind::Other,
        _ => return None,
    })
}

/// Sections that are about no proxy, in HAProxy up to 3.4.
const OTHERS: [&str; 15] = [
    "acme",
    "cache",
    "crt-store",
    "fcgi-app",
    "healthcheck",
    "http-errors",
    "log-forward",
    "log-profile",
    "mailers",
    "peers",
    "program",
    "resolvers",
    "ring",
    "traces",
    "userlist",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::haproxy::words;

    fn sections(text: &str) -> Result<Vec<Section>, Unreadable> {
        split(words::read(text, &|_| None)?.lines)
    }

    fn refusal(text: &str) -> String {
        sections(text).expect_err(text).to_string()
    }

    #[test]
    fn a_section_inherits_the_defaults_above_it_or_those_that_it_names() {
        let text =
            "defaults a\ndefaults\nfrontend f\ndefaults b from a\nbackend x from a\nbackend y\npeers p\nglobal\n";
        let sections = sections(text).unwrap();
        let parents: Vec<_> = sections.iter().map(|section| (section.name(), section.parent)).collect();
        let expected = [
            ("a", None),
            ("", None),
            ("f", Some(1)),
            ("b", Some(0)),
            ("x", Some(0)),
            ("y", Some(3)),
            ("p", None),
            ("", None),
        ];
        assert_eq!(parents, expected);
    }

    #[test]
    fn lines_belong_to_the_section_above_them() {
        let sections = sections("listen l\n bind :80\n server a 10.0.0.1:80\nbackend l2\n").unwrap();
        assert_eq!(sections[0].lines.len(), 2);
        assert_eq!(sections[1].lines.len(), 0);
    }

    #[test]
    fn sections_that_haproxy_refuses_are_refused_with_their_line() {
        for (text, expected) in [
            ("bind :80\n", "line 1: `bind` begins no section"),
            ("backend\n", "line 1: `backend` has no name"),
            ("listen a\nfrontend a\n", "line 2: there is another `a` at line 1"),
            ("listen a\nbackend a\n", "line 2: there is another `a`"),
            ("frontend a from b\n", "line 1: there is no `defaults b` above"),
            ("listen a 10.0.0.1:80\n", "and addresses in `bind` lines"),
            ("listen 'a b'\n", "the name holds ' '"),
            ("global\n.if defined(A)\n", "line 2: `.if` lets HAProxy's version"),
        ] {
            assert!(refusal(text).contains(expected), "{text:?}: {}", refusal(text));
        }
        assert!(sections("frontend a\nbackend a\n").is_ok());
    }
}
