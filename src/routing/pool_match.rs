//! Which pool a request belongs to: the most specific match by host, then by path.

use std::cmp::Reverse;
use std::collections::HashMap;

/// One pool's match rule: absent parts match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolMatch {
    /// Lower case, without port; `*.example.com` matches any name below example.com, however deep, but not
    /// itself.
    pub host: Option<String>,
    /// A path prefix at segment boundaries: `/v1` matches `/v1` and `/v1/x`, not `/v1x`.
    pub path: Option<String>,
}

/// All match rules from most to least specific: exact host, wildcard host (the longer first), no host; within
/// one of these the longer path first. Of equal rules the first given counts.
#[derive(Debug, Default)]
pub struct PoolMatcher {
    hosts: HashMap<String, PathRules>,
    /// By what follows `*.`.
    wildcards: HashMap<String, PathRules>,
    any_host: PathRules,
}

impl PoolMatcher {
    /// Sorts the rules; their indexes are what [`PoolMatcher::find`] returns.
    pub fn new(rules: &[PoolMatch]) -> PoolMatcher {
        let mut matcher = PoolMatcher::default();
        for (index, rule) in rules.iter().enumerate() {
            matcher.paths_of(rule.host.as_deref()).insert(rule.path.clone(), index);
        }
        matcher
    }

    /// Index of the rule (as given to `new`) that a request falls under. `host` as
    /// [`crate::routing::key::normal_host`] gives it.
    pub fn find(&self, host: &str, path: &str) -> Option<usize> {
        if self.hosts.is_empty() && self.wildcards.is_empty() {
            return self.any_host.find(path);
        }
        let exact = || self.hosts.get(host)?.find(path);
        let wildcard = || parent_names(host).find_map(|name| self.wildcards.get(name)?.find(path));
        exact().or_else(wildcard).or_else(|| self.any_host.find(path))
    }

    fn paths_of(&mut self, host: Option<&str>) -> &mut PathRules {
        match host.map(|host| (host, host.strip_prefix("*."))) {
            None => &mut self.any_host,
            Some((_, Some(parent))) => self.wildcards.entry(parent.to_owned()).or_default(),
            Some((host, None)) => self.hosts.entry(host.to_owned()).or_default(),
        }
    }
}

/// The names above a host, the longest first: `b.c` and `c` for `a.b.c`.
fn parent_names(host: &str) -> impl Iterator<Item = &str> {
    host.match_indices('.').filter(|(dot, _)| *dot > 0).map(|(dot, _)| &host[dot + 1..])
}

/// The rules of one host: path prefix and index, the longest prefix first and the absent one last.
#[derive(Debug, Default)]
struct PathRules(Vec<(Option<String>, usize)>);

impl PathRules {
    fn insert(&mut self, prefix: Option<String>, index: usize) {
        self.0.push((prefix, index));
        // The sort is stable: of equal prefixes the first given stays first.
        self.0.sort_by_key(|(prefix, _)| Reverse(prefix.as_ref().map(String::len)));
    }

    fn find(&self, path: &str) -> Option<usize> {
        let matches = |prefix: &Option<String>| prefix.as_deref().is_none_or(|prefix| is_under(path, prefix));
        self.0.iter().find(|(prefix, _)| matches(prefix)).map(|(_, index)| *index)
    }
}

/// Whether `path` is `prefix` or continues it at a segment boundary.
fn is_under(path: &str, prefix: &str) -> bool {
    let Some(rest) = path.strip_prefix(prefix) else {
        return false;
    };
    rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(host: &str, path: &str) -> PoolMatch {
        let part = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        PoolMatch { host: part(host), path: part(path) }
    }

    /// The rule that a request falls under, as `host path` (`-` for an absent part).
    fn found(rules: &[PoolMatch], host: &str, path: &str) -> Option<String> {
        let rule = &rules[PoolMatcher::new(rules).find(host, path)?];
        Some(format!("{} {}", rule.host.as_deref().unwrap_or("-"), rule.path.as_deref().unwrap_or("-")))
    }

    #[test]
    fn paths_match_at_segment_boundaries() {
        for (prefix, path, expected) in [
            ("/v1", "/v1", true),
            ("/v1", "/v1/x", true),
            ("/v1", "/v1x", false),
            ("/ws/", "/ws/", true),
            ("/ws/", "/ws/a", true),
            ("/ws/", "/ws", false),
            ("/", "/anything", true),
        ] {
            assert_eq!(is_under(path, prefix), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn a_wildcard_covers_all_names_below_but_not_its_own() {
        let rules = [rule("*.example.com", "")];
        for host in ["a.example.com", "a.b.example.com"] {
            assert_eq!(found(&rules, host, "/").as_deref(), Some("*.example.com -"), "{host}");
        }
        for host in ["example.com", ".example.com", "aexample.com", "a.example.org", ""] {
            assert_eq!(found(&rules, host, "/"), None, "{host}");
        }
    }

    #[test]
    fn a_more_specific_host_wins_over_a_longer_path() {
        let rules = [
            rule("", "/a/b/c"),
            rule("*.example.com", "/a/b"),
            rule("*.eu.example.com", "/a"),
            rule("x.eu.example.com", "/"),
        ];
        assert_eq!(found(&rules, "x.eu.example.com", "/a/b/c").as_deref(), Some("x.eu.example.com /"));
        assert_eq!(found(&rules, "y.eu.example.com", "/a/b/c").as_deref(), Some("*.eu.example.com /a"));
        assert_eq!(found(&rules, "example.com", "/a/b/c").as_deref(), Some("- /a/b/c"));
    }

    #[test]
    fn a_host_whose_paths_do_not_match_falls_to_the_next() {
        let rules = [rule("a.example.com", "/x"), rule("*.example.com", "/y"), rule("", "")];
        assert_eq!(found(&rules, "a.example.com", "/x").as_deref(), Some("a.example.com /x"));
        assert_eq!(found(&rules, "a.example.com", "/y").as_deref(), Some("*.example.com /y"));
        assert_eq!(found(&rules, "a.example.com", "*").as_deref(), Some("- -"));
    }

    #[test]
    fn of_equal_rules_the_first_counts() {
        let matcher = PoolMatcher::new(&[rule("a", "/x"), rule("a", "/x")]);
        assert_eq!(matcher.find("a", "/x"), Some(0));
    }

    /// Every rule tried, the best rank taken.
    fn by_the_rule(rules: &[PoolMatch], host: &str, path: &str) -> Option<usize> {
        let host_rank = |rule: &PoolMatch| match rule.host.as_deref() {
            None => Some((0, 0)),
            Some(name) if name == host => Some((2, 0)),
            Some(name) => {
                let suffix = name.strip_prefix('*')?;
                (host.len() > suffix.len() && host.ends_with(suffix)).then_some((1, suffix.len()))
            }
        };
        let path_rank = |rule: &PoolMatch| match rule.path.as_deref() {
            None => Some(0),
            Some(prefix) => {
                let bytes = path.as_bytes();
                let is_boundary = |cut: usize| cut == bytes.len() || bytes[cut] == b'/' || bytes[cut - 1] == b'/';
                let mut cuts = (1..=path.len()).filter(|cut| is_boundary(*cut));
                cuts.any(|cut| &path[..cut] == prefix).then_some(prefix.len())
            }
        };
        let ranked = rules
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| Some((host_rank(rule)?, path_rank(rule)?, Reverse(index))));
        ranked.max().map(|(_, _, Reverse(index))| index)
    }

    proptest! {
        #[test]
        fn finding_agrees_with_trying_every_rule(
            rules in prop::collection::vec(
                (prop::option::of(r"(\*\.)?[ab](\.[ab]){0,2}"), prop::option::of("/([ab]{1,2}/?){0,2}")),
                0..8,
            ),
            host in r"([ab](\.[ab]){0,3})?",
            path in "/([ab]{1,2}/?){0,3}",
        ) {
            let rules: Vec<_> = rules.into_iter().map(|(host, path)| PoolMatch { host, path }).collect();
            let expected = by_the_rule(&rules, &host, &path);
            prop_assert_eq!(PoolMatcher::new(&rules).find(&host, &path), expected, "{:?}", rules);
        }
    }
}
