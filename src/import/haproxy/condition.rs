//! `acl`s and the conditions of them: which hosts and paths they come to, where they are about nothing else.

use crate::import::Unreadable;
use crate::import::haproxy::words::Line;
use crate::routing::pool_match::PoolMatch;
use std::collections::HashMap;

/// The `acl` lines of a proxy by their names; of one name each is an alternative.
#[derive(Debug, Default)]
pub(super) struct Acls<'a>(HashMap<&'a str, Vec<&'a [String]>>);

/// The requests that a condition is true of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Alternatives.
    pub(super) matches: Vec<PoolMatch>,
    /// Where Ringway decides otherwise about some requests; a sentence for the list.
    pub(super) difference: Option<&'static str>,
}

/// Why a condition cannot be said by host and path.
pub(super) type Unsaid = String;

impl<'a> Acls<'a> {
    /// Collects those of a proxy.
    pub(super) fn of(lines: &'a [Line]) -> Acls<'a> {
        let mut acls = Acls::default();
        for line in lines.iter().filter(|line| line.word(0) == "acl") {
            acls.0.entry(line.word(1)).or_default().push(line.after(2));
        }
        acls
    }

    /// What stands behind so many words of a rule: nothing, `if` with a condition, or `unless`.
    pub(super) fn condition(&self, line: &Line, behind: usize) -> Result<Result<Said, Unsaid>, Unreadable> {
        let (word, condition) = match line.after(behind) {
            [] => return Ok(Ok(everything())),
            [word, condition @ ..] => (word.as_str(), condition),
        };
        let mut said = Ok(Said::default());
        for conjunction in split(line, condition)? {
            let mut all = Ok(everything());
            for term in conjunction {
                let one = self.term(line, term)?;
                all = all.and_then(|all: Said| all.and(&one?));
            }
            said = said.and_then(|said: Said| said.or(all?));
        }
        match word {
            "if" => Ok(said),
            "unless" => Ok(Err("`unless` says which requests do not go there".to_owned())),
            other => {
                Err(line.unreadable(format!("`{other}` cannot stand here; a condition begins with `if` or `unless`")))
            }
        }
    }

    fn term(&self, line: &Line, term: Term<'_>) -> Result<Result<Said, Unsaid>, Unreadable> {
        let said = match term {
            Term::Anonymous(words, _) => test(words),
            Term::Named(name, _) => match self.0.get(name) {
                Some(tests) => {
                    tests.iter().map(|words| test(words)).try_fold(Said::default(), |said, test| said.or(test?))
                }
                None if name == "TRUE" => Ok(everything()),
                None if name == "FALSE" => Ok(Said::default()),
                None if PREDEFINED.contains(&name) => Err(format!("`{name}` is about neither host nor path")),
                None => return Err(line.unreadable(format!("there is no `acl {name}` in this section"))),
            },
        };
        let (Term::Anonymous(_, is_negated) | Term::Named(_, is_negated)) = term;
        Ok(match is_negated {
            true => Err("`!` says which requests do not go there".to_owned()),
            false => said,
        })
    }
}

impl Said {
    /// What either says.
    fn or(mut self, other: Said) -> Result<Said, Unsaid> {
        for matches in other.matches {
            if !self.matches.contains(&matches) {
                self.matches.push(matches);
            }
            if self.matches.len() > ALTERNATIVES_MAX {
                return Err(format!("it would take more than {ALTERNATIVES_MAX} pools"));
            }
        }
        Ok(Said { difference: self.difference.or(other.difference), ..self })
    }

    /// What both say.
    fn and(&self, other: &Said) -> Result<Said, Unsaid> {
        let pairs = self.matches.iter().flat_map(|one| other.matches.iter().map(move |other| (one, other)));
        let both = pairs.filter_map(|(one, other)| intersection(one, other));
        let said = Said { matches: Vec::new(), difference: self.difference.or(other.difference) };
        said.or(Said { matches: both.collect(), difference: None })
    }
}

/// The requests that fall under both.
pub(super) fn intersection(one: &PoolMatch, other: &PoolMatch) -> Option<PoolMatch> {
    let host = narrower(one.host.as_ref(), other.host.as_ref(), |wide, narrow| {
        wide.strip_prefix('*').is_some_and(|parent| narrow.trim_start_matches('*').ends_with(parent))
    });
    let path = narrower(one.path.as_ref(), other.path.as_ref(), |wide, narrow| {
        narrow.strip_prefix(wide).is_some_and(|rest| wide.ends_with('/') || rest.starts_with('/'))
    });
    Some(PoolMatch { host: host?.cloned(), path: path?.cloned() })
}

/// Of two parts that both have to match the one that is within the other, if one is.
fn narrower<'a>(
    one: Option<&'a String>,
    other: Option<&'a String>,
    is_within: impl Fn(&str, &str) -> bool,
) -> Option<Option<&'a String>> {
    match (one, other) {
        (None, other) => Some(other),
        (one, None) => Some(one),
        (Some(one), Some(other)) if one == other || is_within(one, other) => Some(Some(other)),
        (Some(one), Some(other)) if is_within(other, one) => Some(Some(one)),
        _ => None,
    }
}

/// Every request.
fn everything() -> Said {
    Said { matches: vec![PoolMatch::default()], difference: None }
}

/// An `acl` by its name or on the spot, and whether it is negated.
#[derive(Clone, Copy, Debug)]
enum Term<'a> {
    Anonymous(&'a [String], bool),
    Named(&'a str, bool),
}

/// The terms of each alternative.
fn split<'a>(line: &Line, condition: &'a [String]) -> Result<Vec<Vec<Term<'a>>>, Unreadable> {
    let mut alternatives = vec![Vec::new()];
    let mut words = condition;
    let mut is_negated = false;
    while let [word, rest @ ..] = words {
        words = rest;
        let bare = word.strip_prefix('!').unwrap_or(word);
        is_negated ^= bare.len() < word.len();
        let term = match bare {
            "" => continue,
            "or" | "||" => {
                alternatives.push(Vec::new());
                continue;
            }
            "{" => {
                let end = words.iter().position(|word| word == "}");
                let end = end.ok_or_else(|| line.unreadable("the `{` of a condition is not closed by a `}`"))?;
                let inside = &words[..end];
                words = &words[end + 1..];
                Term::Anonymous(inside, is_negated)
            }
            name => Term::Named(name, is_negated),
        };
        is_negated = false;
        alternatives.last_mut().into_iter().for_each(|terms| terms.push(term));
    }
    match alternatives.iter().any(Vec::is_empty) {
        true => Err(line.unreadable("a condition is empty")),
        false => Ok(alternatives),
    }
}

/// One test: what is looked at, how, and with which patterns.
fn test(words: &[String]) -> Result<Said, Unsaid> {
    let [fetch, rest @ ..] = words else { return Err("it tests nothing".to_owned()) };
    let mut is_any_case = false;
    let mut method = "";
    let mut words = rest.iter().map(String::as_str).peekable();
    while let Some(flag) = words.next_if(|word| word.starts_with('-')) {
        match flag {
            "-i" => is_any_case = true,
            "-m" => method = words.next().unwrap_or_default(),
            "-f" | "-M" => return Err("it takes its patterns from a file".to_owned()),
            "-n" | "-u" => {}
            "--" => break,
            _ => return Err(format!("`{flag}` is not known to this import")),
        }
    }
    let (what, how) = subject(fetch, method).ok_or_else(|| match method {
        "" => format!("`{fetch}` is not a test of host or path that can be carried over"),
        method => format!("`{fetch} -m {method}` is not a test of host or path that can be carried over"),
    })?;
    let mut said = Said::default();
    for pattern in words {
        let one = match (what, how) {
            (Subject::Host { .. }, How::End) => host_suffix(pattern),
            (Subject::Host { is_bare }, _) => host(pattern, is_bare && is_any_case),
            (Subject::Path, _) => path(pattern, is_any_case),
        };
        said = said.or(one?)?;
    }
    Ok(said)
}

#[derive(Clone, Copy)]
enum Subject {
    Host {
        /// Whether the port is cut off before it is compared.
        is_bare: bool,
    },
    Path,
}

#[derive(Clone, Copy)]
enum How {
    Begin,
    End,
    Whole,
}

/// What a fetch and its matching method look at, where Ringway can too.
fn subject(fetch: &str, method: &str) -> Option<(Subject, How)> {
    let lower = fetch.to_ascii_lowercase();
    let (fetch, converters) = lower
        .split_once("),")
        .map_or((lower.as_str(), ""), |(_, converters)| (&lower[..lower.len() - converters.len() - 1], converters));
    let is_bare = match converters {
        "" | "lower" => false,
        "field(1,:)" | "field(1,:),lower" | "host_only" | "host_only,lower" | "lower,field(1,:)" => true,
        _ => return None,
    };
    let host = Subject::Host { is_bare };
    match (fetch, method) {
        ("hdr(host)" | "req.hdr(host)" | "req.fhdr(host)", "" | "str") => Some((host, How::Whole)),
        ("hdr(host)" | "req.hdr(host)" | "req.fhdr(host)", "end") => Some((host, How::End)),
        ("hdr_end(host)", "") => Some((host, How::End)),
        ("path_beg", "") | ("path", "beg") => Some((Subject::Path, How::Begin)),
        _ => None,
    }
}

fn host(pattern: &str, is_exact: bool) -> Result<Said, Unsaid> {
    let (name, port) = pattern.split_once(':').unwrap_or((pattern, ""));
    if !is_host_name(name) {
        return Err(format!("`{pattern}` is no name of a host"));
    }
    let difference = (!is_exact || !port.is_empty()).then_some(HOST_ALONE);
    let matches = PoolMatch { host: Some(name.to_ascii_lowercase()), path: None };
    Ok(Said { matches: vec![matches], difference })
}

fn host_suffix(pattern: &str) -> Result<Said, Unsaid> {
    match pattern.strip_prefix('.') {
        Some(parent) if is_host_name(parent) => {
            let matches = PoolMatch { host: Some(format!("*.{}", parent.to_ascii_lowercase())), path: None };
            Ok(Said { matches: vec![matches], difference: Some(HOST_ALONE) })
        }
        _ => Err(format!(
            "hosts are matched as a whole or from a dot on, as `.example.com`, but not by the end `{pattern}`"
        )),
    }
}

fn path(pattern: &str, is_any_case: bool) -> Result<Said, Unsaid> {
    if is_any_case {
        return Err("paths are matched with their case".to_owned());
    }
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#');
    if !pattern.starts_with('/') || !pattern.chars().all(is_plain) {
        return Err(format!("`{pattern}` is no beginning of a path"));
    }
    let matches = PoolMatch { host: None, path: Some(pattern.to_owned()) };
    let difference = (!pattern.ends_with('/')).then_some(WHOLE_SEGMENTS);
    Ok(Said { matches: vec![matches], difference })
}

fn is_host_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

const HOST_ALONE: &str = "Ringway compares the name of the host alone, whatever its case and \
    port; HAProxy compares all that the client sent";

const WHOLE_SEGMENTS: &str =
    "Ringway matches whole segments of a path: of `/api` it takes /api and /api/x, and not /apix";

/// What one condition may come to.
const ALTERNATIVES_MAX: usize = 256;

/// Those that HAProxy brings along.
const PREDEFINED: [&str; 21] = [
    "HTTP",
    "HTTP_1.0",
    "HTTP_1.1",
    "HTTP_2.0",
    "HTTP_3.0",
    "HTTP_CONTENT",
    "HTTP_URL_ABS",
    "HTTP_URL_SLASH",
    "HTTP_URL_STAR",
    "LOCALHOST",
    "METH_CONNECT",
    "METH_DELETE",
    "METH_GET",
    "METH_HEAD",
    "METH_OPTIONS",
    "METH_POST",
    "METH_PUT",
    "METH_TRACE",
    "RDP_COOKIE",
    "REQ_CONTENT",
    "WAIT_END",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::haproxy::words;

    fn condition(text: &str) -> Result<Result<Said, Unsaid>, Unreadable> {
        let lines = words::read(&format!("{ACLS}use_backend x {text}\n"), &|_| None).unwrap().lines;
        Acls::of(&lines).condition(lines.last().unwrap(), 2)
    }

    /// The alternatives as `host path`, with `-` for what is not asked for.
    fn said(text: &str) -> Vec<String> {
        let said = condition(text).unwrap().unwrap_or_else(|why| panic!("{text}: {why}"));
        let part = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
        said.matches.into_iter().map(|matches| format!("{} {}", part(matches.host), part(matches.path))).collect()
    }

    #[test]
    fn hosts_and_paths_are_carried_over() {
        for (text, expected) in [
            ("", vec!["- -"]),
            ("if { hdr(host) -i A.example.com }", vec!["a.example.com -"]),
            ("if { req.hdr(Host) -i -m str a b }", vec!["a -", "b -"]),
            ("if { req.hdr(host),field(1,:) -i a }", vec!["a -"]),
            ("if { hdr_end(host) -i .example.com }", vec!["*.example.com -"]),
            ("if { path_beg /api/ /v1 }", vec!["- /api/", "- /v1"]),
            ("if { path -m beg /api/ }", vec!["- /api/"]),
            ("if TRUE", vec!["- -"]),
            ("if FALSE", vec![]),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }

    #[test]
    fn conditions_are_joined() {
        for (text, expected) in [
            ("if is_a is_api", vec!["a /api/"]),
            ("if is_a or is_api", vec!["a -", "- /api/"]),
            ("if is_a || is_b is_api", vec!["a -", "b /api/", "c /api/"]),
            ("if is_b { path_beg /x/ /y/ }", vec!["b /x/", "b /y/", "c /x/", "c /y/"]),
            ("if is_a is_b", vec![]),
            ("if { path_beg /api/ } { path_beg /api/v1/ /web/ }", vec!["- /api/v1/"]),
            ("if { hdr_end(host) .a.b } { hdr(host) x.a.b a.b }", vec!["x.a.b -"]),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }

    #[test]
    fn what_ringway_decides_otherwise_is_said() {
        for (text, expected) in [
            ("if { hdr(host) -i a }", Some(HOST_ALONE)),
            ("if { hdr(host),host_only -i a }", None),
            ("if { path_beg /api }", Some(WHOLE_SEGMENTS)),
            ("if { path_beg /api/ }", None),
        ] {
            assert_eq!(condition(text).unwrap().unwrap().difference, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_said_gives_the_reason() {
        for (text, expected) in [
            ("unless is_a", "`unless`"),
            ("if !is_a", "`!`"),
            ("if ! is_a", "`!`"),
            ("if !{ path_beg / }", "`!`"),
            ("if { path /x }", "`path` is not a test"),
            ("if { path_end .png }", "`path_end` is not a test"),
            ("if { path_beg -i /x }", "with their case"),
            ("if { hdr_end(host) example.com }", "from a dot on"),
            ("if { hdr(host) -f /etc/hosts }", "from a file"),
            ("if { hdr(host),map(/m) a }", "is not a test"),
            ("if { hdr_dom(host) a }", "is not a test"),
            ("if is_a METH_GET", "`METH_GET` is about neither"),
            ("if is_secret", "`src` is not a test"),
            ("if { hdr(host) a b c } or is_secret", "`src` is not a test"),
            ("if { path_beg api }", "`api` is no beginning"),
            ("if { hdr(host) [::1]:80 }", "is no name of a host"),
        ] {
            let why = condition(text).unwrap().expect_err(text);
            assert!(why.contains(expected), "{text}: {why}");
        }
    }

    #[test]
    fn conditions_that_haproxy_refuses_are_refused() {
        for (text, expected) in [
            ("if", "a condition is empty"),
            ("if is_a or", "a condition is empty"),
            ("if { path_beg /", "not closed"),
            ("if nobody", "there is no `acl nobody`"),
            ("when is_a", "begins with `if` or `unless`"),
        ] {
            let refusal = condition(text).expect_err(text).to_string();
            assert!(refusal.contains(expected), "{text}: {refusal}");
        }
    }

    const ACLS: &str = "acl is_a hdr(host) -i a\nacl is_b hdr(host) -i b\nacl is_b hdr(host) -i c\n\
                        acl is_api path_beg /api/\nacl is_secret src 10.0.0.0/8\n";
}
