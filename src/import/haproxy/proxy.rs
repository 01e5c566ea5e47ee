//! What a section comes to with the defaults that it inherits, as far as it concerns who answers.

use crate::import::Unreadable;
use crate::import::haproxy::balance::Balance;
use crate::import::haproxy::balance::HashType;
use crate::import::haproxy::balance::Origin;
use crate::import::haproxy::parameters::Ignored;
use crate::import::haproxy::section::Kind;
use crate::import::haproxy::section::Section;
use crate::import::haproxy::server;
use crate::import::haproxy::server::Server;
use crate::import::haproxy::server::ServerSettings;
use crate::import::haproxy::words::Line;
use crate::import::time;
use std::rc::Rc;
use std::time::Duration;

/// A section of a proxy, or of defaults.
#[derive(Debug)]
pub(super) struct Proxy<'a> {
    pub(super) section: &'a Section,
    pub(super) settings: Settings<'a>,
    pub(super) servers: Vec<Server>,
    /// Parameters of servers that are not carried over, with the line of each.
    pub(super) ignored: Vec<(usize, Ignored)>,
}

/// What defaults pass on.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings<'a> {
    pub(super) is_http: bool,
    pub(super) is_disabled: bool,
    pub(super) balance: Option<Rc<Balance>>,
    pub(super) hash_type: HashType,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) server_timeout: Option<Duration>,
    pub(super) default_backend: Option<&'a Line>,
    default_server: ServerSettings,
}

/// Reads sections in their order, in which defaults come before those that inherit them.
pub(super) fn read(sections: &[Section]) -> Result<Vec<Proxy<'_>>, Unreadable> {
    let mut proxies: Vec<Proxy<'_>> = Vec::with_capacity(sections.len());
    let mut servers = 0;
    for section in sections {
        let parent = section.parent.and_then(|parent| proxies.get(parent));
        let settings = parent.map(|parent| parent.settings.clone()).unwrap_or_default();
        let mut proxy = Proxy { section, settings, servers: Vec::new(), ignored: Vec::new() };
        // In `peers`, `ring` and the like a `server` is something else.
        if !matches!(section.kind, Kind::Global | Kind::Other) {
            for line in &section.lines {
                proxy.take(line)?;
                if servers + proxy.servers.len() > SERVERS_MAX {
                    return Err(line.unreadable(format!("there are more than {SERVERS_MAX} servers up to here")));
                }
            }
            server::number(&mut proxy.servers)?;
        }
        servers += proxy.servers.len();
        proxies.push(proxy);
    }
    Ok(proxies)
}

impl<'a> Proxy<'a> {
    fn take(&mut self, line: &'a Line) -> Result<(), Unreadable> {
        let settings = &mut self.settings;
        match line.word(0) {
            "balance" => settings.balance = Some(Rc::new(Balance::parse(line)?)),
            "default_backend" => settings.default_backend = Some(line),
            "default-server" => {
                let ignored = settings.default_server.read(line, 1)?;
                self.ignored.extend(ignored.into_iter().map(|ignored| (line.number, ignored)));
                settings.default_server.refuse_own(line)?;
            }
            "disabled" => settings.is_disabled = true,
            "enabled" => settings.is_disabled = false,
            "hash-type" => settings.hash_type = HashType::parse(line)?,
            "mode" => settings.is_http = mode(line)? == "http",
            "server" | "server-template" => {
                let (servers, ignored) = server::read(line, &settings.default_server)?;
                self.servers.extend(servers);
                self.ignored.extend(ignored.into_iter().map(|ignored| (line.number, ignored)));
            }
            "timeout" if line.word(1) == "connect" => {
                settings.connect_timeout = Some(timeout(line)?).filter(time::is_taken);
            }
            "timeout" if line.word(1) == "server" => {
                settings.server_timeout = Some(timeout(line)?).filter(time::is_taken);
            }
            _ => {}
        }
        Ok(())
    }

    /// The line that changes, in every request or in some, the part of it that a key is from.
    pub(super) fn rewrite(&self, origin: &Origin) -> Option<&'a Line> {
        self.section.lines.iter().find(|line| rewrites(line, origin))
    }
}

fn mode(line: &Line) -> Result<&str, Unreadable> {
    match line.word(1) {
        mode @ ("haterm" | "health" | "http" | "log" | "spop" | "tcp") => Ok(mode),
        other => Err(line
            .unreadable(format!("`mode {other}` does not exist; those that pass something on are `http` and `tcp`"))),
    }
}

/// A time in the words of HAProxy, in milliseconds unless it names its unit.
pub(super) fn timeout(line: &Line) -> Result<Duration, Unreadable> {
    let written = line.word(2);
    let whole = time::first(written, &UNITS).filter(|(time, rest)| rest.is_empty() && *time <= TIMEOUT_MAX);
    whole.map(|(time, _)| time).ok_or_else(|| {
        line.unreadable(format!(
            "`{written}` is not a time up to 24 days; write it such as `5s`, or `500` for milliseconds"
        ))
    })
}

fn rewrites(line: &Line, origin: &Origin) -> bool {
    let (keyword, action) = (line.word(0), line.word(1));
    // Those of old versions take a regular expression for what they change.
    let is_old = keyword.starts_with("req") && !keyword.starts_with("request");
    let action = action.split_once('(').map_or(action, |(action, _)| action);
    match (keyword, origin) {
        ("http-request", Origin::Uri) => matches!(
            action,
            "normalize-uri"
                | "replace-path"
                | "replace-pathq"
                | "replace-uri"
                | "set-path"
                | "set-pathq"
                | "set-query"
                | "set-uri"
        ),
        ("http-request", Origin::Header(name)) => {
            let is_of_it = matches!(action, "add-header" | "replace-header" | "replace-value" | "set-header")
                && line.word(2).eq_ignore_ascii_case(name);
            let is_removed =
                action == "del-header" && (line.words.len() > 3 || line.word(2).eq_ignore_ascii_case(name));
            is_of_it || is_removed || action == "del-headers-bin" || action == "add-headers-bin"
        }
        ("http-request", Origin::Method) => action == "set-method",
        ("http-request" | "tcp-request", Origin::Address) => {
            line.words.iter().any(|word| word == "set-src" || word.starts_with("set-src("))
        }
        ("unique-id-header", Origin::Header(name)) => line.word(1).eq_ignore_ascii_case(name),
        ("option", Origin::Header(name)) => action == "forwardfor" && is_forwarded(line, name),
        (_, Origin::Header(_) | Origin::Method | Origin::Uri) => is_old,
        _ => false,
    }
}

/// Whether `option forwardfor` writes to this header.
fn is_forwarded(line: &Line, name: &str) -> bool {
    let named = line.words.iter().skip_while(|word| *word != "header").nth(1);
    named.map_or("x-forwarded-for", String::as_str).eq_ignore_ascii_case(name)
}

/// HAProxy counts milliseconds in 31 bits.
const TIMEOUT_MAX: Duration = Duration::from_millis(2_147_483_647);

const UNITS: [(&str, u64); 7] = [
    ("", 1_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("us", 1),
];

/// Templates make many of a few words; so many are read of one file.
const SERVERS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::haproxy::section;
    use crate::import::haproxy::words;

    fn sections(text: &str) -> Vec<Section> {
        section::split(words::read(text, &|_| None).unwrap().lines).unwrap()
    }

    fn refusal(text: &str) -> String {
        read(&sections(text)).expect_err(text).to_string()
    }

    fn line(text: &str) -> Line {
        words::read(&format!("{text}\n"), &|_| None).unwrap().lines.remove(0)
    }

    #[test]
    fn a_proxy_has_what_its_defaults_say_unless_it_says_otherwise() {
        let text = "defaults\n mode http\n timeout connect 5s\n timeout server 1m\n default-server weight 9\n\
                    backend b\n timeout server 500\n server a 10.0.0.1:80\n";
        let sections = sections(text);
        let proxies = read(&sections).unwrap();
        let settings = &proxies[1].settings;
        assert!(settings.is_http);
        assert_eq!(settings.connect_timeout, Some(Duration::from_secs(5)));
        assert_eq!(settings.server_timeout, Some(Duration::from_millis(500)));
        assert_eq!(proxies[1].servers[0].settings.weight, 9);
    }

    #[test]
    fn rules_that_change_a_key_are_known() {
        let (header, uri) = (Origin::Header("x-room".to_owned()), Origin::Uri);
        for (rule, origin, expected) in [
            ("http-request set-header X-Room %[path]", &header, true),
            ("http-request set-header X-Other 1", &header, false),
            ("http-request del-header x- -m beg", &header, true),
            ("http-request set-path /a", &header, false),
            ("http-request set-path /a", &uri, true),
            ("http-request replace-path (.*) /a", &uri, true),
            ("http-request normalize-uri path-merge-slashes", &uri, true),
            ("http-request set-src hdr(x)", &Origin::Address, true),
            ("option forwardfor", &Origin::Header("x-forwarded-for".to_owned()), true),
            ("option forwardfor header x-room", &header, true),
            ("option forwardfor", &header, false),
            ("reqrep ^a b", &uri, true),
            ("http-response set-header x-room 1", &header, false),
        ] {
            assert_eq!(rewrites(&line(rule), origin), expected, "{rule} {origin:?}");
        }
    }

    #[test]
    fn values_that_haproxy_refuses_are_refused_with_their_line() {
        for (text, expected) in [
            ("listen l\n mode htp\n", "line 2: `mode htp` does not exist"),
            ("listen l\n timeout connect 5x\n", "line 2: `5x` is not a time"),
            ("listen l\n timeout connect 1m30s\n", "line 2: `1m30s` is not a time"),
            ("listen l\n timeout connect 1w\n", "line 2: `1w` is not a time"),
            ("listen l\n timeout server 99999999999999\n", "line 2: `99999999999999` is not a time"),
            ("listen l\n default-server id 3\n", "line 2: `default-server` cannot give"),
            ("listen l\n balance foo\n", "line 2: `balance foo`"),
        ] {
            assert!(refusal(text).contains(expected), "{text:?}: {}", refusal(text));
        }
    }

    #[test]
    fn templates_do_not_fill_the_memory() {
        let text: String = (0..20).map(|number| format!("backend b{number}\n server-template s 9999 a:80\n")).collect();
        assert!(refusal(&text).contains("more than 100000 servers"), "{}", refusal(&text));
    }

    #[test]
    fn what_other_sections_call_a_server_is_none() {
        assert!(read(&sections("peers p\n server a\nring r\n server b\n")).is_ok());
    }
}
