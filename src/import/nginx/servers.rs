//! `server` and `location` blocks of nginx: which requests they take, and where those go.

use crate::import::Imported;
use crate::import::Unreadable;
use crate::import::nginx::settings;
use crate::import::nginx::settings::Settings;
use crate::import::nginx::tree::Directive;
use crate::import::nginx::upstream::Upstream;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

/// One `server`.
#[derive(Debug)]
pub(super) struct Server<'a> {
    pub(super) directive: &'a Directive,
    /// In lower case; those that Ringway can match.
    pub(super) names: Vec<String>,
    pub(super) listens: Vec<Listen<'a>>,
    /// Those that take paths by their beginning or alone.
    pub(super) locations: Vec<Location<'a>>,
    /// What keeps requests from its locations.
    pub(super) answer: Option<&'a Directive>,
}

/// One `listen`.
#[derive(Debug)]
pub(super) struct Listen<'a> {
    /// `None` where there is no `listen`.
    pub(super) directive: Option<&'a Directive>,
    /// `None` for what is no address with a port.
    pub(super) address: Option<SocketAddr>,
    /// What tells it from others.
    pub(super) text: String,
    pub(super) is_default: bool,
    pub(super) has_tls: bool,
}

/// One `location`.
#[derive(Debug)]
pub(super) struct Location<'a> {
    pub(super) directive: &'a Directive,
    pub(super) is_exact: bool,
    pub(super) path: String,
    pub(super) target: Target,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Nowhere that a hash decides; this is why.
    Other(String),
    Pool(Passed),
}

/// To an upstream that hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// Its index.
    pub(super) upstream: usize,
    /// What nodes get as Host, where that is not what the client sent.
    pub(super) host: Option<String>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) head_timeout: Option<Duration>,
}

/// Reads one block.
struct Reader<'a> {
    upstreams: &'a [Upstream],
    /// What is noted, which is of interest only where requests go to an upstream that hashes.
    notes: Imported,
}

/// What holds around a location.
#[derive(Clone)]
struct Around<'a> {
    settings: Settings,
    /// Of the server.
    name: &'a str,
}

impl<'a> Server<'a> {
    /// Whether any of its requests goes to an upstream that hashes.
    pub(super) fn is_carried(&self) -> bool {
        self.answer.is_none() && self.locations.iter().any(Location::is_carried)
    }

    /// Where nginx sends a path, regular expressions apart.
    pub(super) fn target(&self, path: &str) -> Option<&Target> {
        let exact = self.locations.iter().find(|location| location.is_exact && location.path == path);
        exact.or_else(|| self.longest(path, |_| true)).map(|location| &location.target)
    }

    /// The location that would take a location's own path without it.
    pub(super) fn around(&self, location: &Location<'_>) -> Option<&Location<'a>> {
        self.longest(&location.path, |other| !std::ptr::eq(other, location))
    }

    fn longest(&self, path: &str, is_asked: impl Fn(&Location<'a>) -> bool) -> Option<&Location<'a>> {
        let prefixes = self.locations.iter().filter(|location| !location.is_exact && path.starts_with(&location.path));
        prefixes.filter(|location| is_asked(location)).max_by_key(|location| location.path.len())
    }

    /// Notes what is not carried over of a server that is, and adds where it listens.
    pub(super) fn note(&self, imported: &mut Imported) {
        settings::judge(self.directive.children(), imported);
        for location in self.locations.iter().filter(|location| location.is_carried()) {
            settings::judge(location.directive.children(), imported);
        }
        self.listens.iter().for_each(|listen| listen.note(self.directive, imported));
    }
}

impl Location<'_> {
    fn is_carried(&self) -> bool {
        matches!(self.target, Target::Pool(_))
    }
}

impl Listen<'_> {
    fn note(&self, server: &Directive, imported: &mut Imported) {
        let directive = self.directive.unwrap_or(server);
        let mut leave_out = |why| imported.leave_out(directive.place.clone(), directive.shown(), why);
        if directive.args.iter().any(|parameter| parameter == "proxy_protocol") {
            leave_out("Ringway does not speak the PROXY protocol; `trusted-proxies` is for the fields of HTTP");
        }
        match self.address {
            None => leave_out("Ringway listens on an IP address and a port"),
            Some(_) if self.has_tls => {
                leave_out("Ringway has no TLS yet: let something before it end TLS, and add an address to `listen`");
            }
            Some(address) => imported.listen(address),
        }
    }
}

/// Reads a block within an `http` in which `settings` hold. What is particular about one that is carried is noted.
///
/// # Errors
/// When nginx would not take it.
pub(super) fn read<'a>(
    directive: &'a Directive,
    settings: &Settings,
    upstreams: &'a [Upstream],
    imported: &mut Imported,
) -> Result<Server<'a>, Unreadable> {
    let mut reader = Reader { upstreams, notes: Imported::default() };
    let server = reader.server(directive, settings)?;
    if server.is_carried() {
        imported.left_out.append(&mut reader.notes.left_out);
    }
    Ok(server)
}

impl<'a> Reader<'a> {
    fn server(&mut self, directive: &'a Directive, settings: &Settings) -> Result<Server<'a>, Unreadable> {
        let block = directive.children();
        let named = || block.iter().filter(|child| child.name == "server_name");
        let answer = block.iter().find(|child| child.name == "return");
        let listens = block.iter().filter(|child| child.name == "listen").map(read_listen);
        let mut listens = listens.collect::<Result<Vec<_>, _>>()?;
        if listens.is_empty() {
            listens.push(Listen::default());
        }
        let mut locations = Vec::new();
        let name = named().next().map_or("", |named| named.arg(0));
        let around = Around { settings: settings.within(block)?, name };
        self.locations(block, &around, &mut locations)?;
        let names = named().flat_map(|named| self.names(named)).collect();
        Ok(Server { directive, names, listens, locations, answer })
    }

    /// The names of one `server_name` that Ringway can match.
    fn names(&mut self, directive: &Directive) -> Vec<String> {
        let mut names = Vec::new();
        for name in directive.args.iter().map(|name| name.to_ascii_lowercase()) {
            if let Some(parent) = name.strip_prefix('.') {
                names.extend([parent.to_owned(), format!("*.{parent}")]);
                continue;
            }
            let plain = name.strip_prefix("*.").unwrap_or(&name);
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            match name.as_str() {
                // No request has this name, which is what people write it for.
                "_" => {}
                _ if !plain.is_empty() && plain.chars().all(is_plain) => names.push(name),
                _ => {
                    let why = "Ringway matches names, and names below one (`*.example.com`), but no other patterns";
                    self.notes.leave_out(directive.place.clone(), format!("server_name {name}"), why);
                }
            }
        }
        names
    }

    /// The locations of a block, and those within them.
    fn locations(
        &mut self,
        block: &'a [Directive],
        around: &Around<'a>,
        found: &mut Vec<Location<'a>>,
    ) -> Result<(), Unreadable> {
        for directive in block.iter().filter(|child| child.name == "location") {
            let around = Around { settings: around.settings.within(directive.children())?, ..around.clone() };
            let (modifier, path) = match directive.args.as_slice() {
                [path] => ("", path.as_str()),
                [modifier, path] => (modifier.as_str(), path.as_str()),
                _ => {
                    return Err(
                        directive.refuse("`location` takes a path, and `=`, `^~`, `~` or `~*` before it or nothing")
                    );
                }
            };
            // A modifier may stand right before its path.
            let glued = ["=", "^~", "~*", "~"].into_iter().find(|known| modifier.is_empty() && path.starts_with(known));
            let (modifier, path) = glued.map_or((modifier, path), |glued| (glued, &path[glued.len()..]));
            let is_exact = match modifier {
                "" if path.starts_with('@') => {
                    self.unmatched(directive, "Ringway has no named locations");
                    continue;
                }
                "" | "^~" => false,
                "=" => true,
                "~" | "~*" => {
                    self.expression(directive, &around);
                    continue;
                }
                _ => return Err(directive.refuse(format!("`{modifier}` is not one of `=`, `^~`, `~` and `~*`"))),
            };
            let target = self.target(directive, &around);
            found.push(Location { directive, is_exact, path: path.to_owned(), target });
            self.locations(directive.children(), &around, found)?;
        }
        Ok(())
    }

    fn unmatched(&mut self, directive: &Directive, why: &str) {
        let why = format!("{why}; what comes here in nginx goes by the other locations in Ringway");
        self.notes.leave_out(directive.place.clone(), directive.shown(), why);
    }

    /// Notes a location with a regular expression, and whether nginx hashes what it takes.
    fn expression(&mut self, directive: &Directive, around: &Around<'_>) {
        let target = Reader { upstreams: self.upstreams, notes: Imported::default() }.target(directive, around);
        let there = match target {
            Target::Pool(passed) => {
                let name = &self.upstreams[passed.upstream].name;
                format!(
                    "nginx hashes requests that it takes, over upstream {name}; Ringway sends them where the beginning \
                     of their path says: give the pool for {name} a `match` with the beginning that they share"
                )
            }
            Target::Other(why) => format!(
                "nginx does not hash requests that it takes ({why}); Ringway hashes them where a pool matches the \
                 beginning of their path: keep them from it, or let the nodes answer them"
            ),
        };
        let why = format!("Ringway matches no regular expressions: {there}");
        self.notes.leave_out(directive.place.clone(), directive.shown(), why);
    }

    /// Where the requests of a location go. What is particular about that is noted when they go to a pool.
    fn target(&mut self, directive: &Directive, around: &Around<'_>) -> Target {
        let block = directive.children();
        let answers = |child: &&Directive| {
            child.name.ends_with("_pass")
                || matches!(child.name.as_str(), "alias" | "return" | "rewrite" | "root" | "try_files")
        };
        let Some(pass) = block.iter().find(|child| child.name == "proxy_pass") else {
            let answer =
                block.iter().find(answers).map_or_else(|| "nginx".to_owned(), |child| format!("`{}`", child.shown()));
            return Target::Other(format!("{answer} answers there, which does not hash"));
        };
        if let Some(answer) = block.iter().find(|child| child.name == "return") {
            return Target::Other(format!("`{}` answers there, which does not hash", answer.shown()));
        }
        match self.passed(pass, around) {
            Ok(passed) => Target::Pool(passed),
            Err(why) => Target::Other(why),
        }
    }

    fn passed(&mut self, pass: &Directive, around: &Around<'_>) -> Result<Passed, String> {
        let url = pass.arg(0);
        if let Some(url) = url.strip_prefix("https://") {
            return Err(format!("it speaks TLS to {url}, which Ringway does not do yet"));
        }
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(format!("`{url}` is where it goes, which is known when a request comes"));
        };
        let (name, uri) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if name.contains('$') {
            return Err(format!("`{name}` is where it goes, which is known when a request comes"));
        }
        let index = self.upstreams.iter().position(|upstream| upstream.name.eq_ignore_ascii_case(name));
        let index = index.filter(|index| self.upstreams[*index].hashed.is_some());
        let Some(upstream) = index else {
            return Err(format!("{name} does not hash"));
        };
        if !uri.is_empty() {
            let why = "Ringway passes paths as they came; nginx puts this path in the place of the location's, and \
                       normalises what follows";
            self.notes.leave_out(pass.place.clone(), pass.shown(), why);
        }
        let host = around.settings.host(name, around.name).unwrap_or_else(|why| {
            self.notes.leave_out(pass.place.clone(), pass.shown(), why);
            None
        });
        let Settings { connect_timeout, read_timeout, .. } = around.settings;
        Ok(Passed { upstream, host, connect_timeout, head_timeout: read_timeout })
    }
}

impl Default for Listen<'_> {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT_DEFAULT));
        Listen { directive: None, address: Some(address), text: address.to_string(), is_default: false, has_tls: false }
    }
}

fn read_listen(directive: &Directive) -> Result<Listen<'_>, Unreadable> {
    let Some((written, parameters)) = directive.args.split_first() else {
        return Err(directive.refuse("`listen` takes an address or a port"));
    };
    let address =
        listen_address(written).map_err(|()| directive.refuse(format!("`{written}` is no address with a port")))?;
    let has = |names: &[&str]| parameters.iter().any(|parameter| names.contains(&parameter.as_str()));
    Ok(Listen {
        directive: Some(directive),
        address,
        text: address.map_or_else(|| written.clone(), |address| address.to_string()),
        is_default: has(&["default_server", "default"]),
        has_tls: has(&["ssl", "quic"]),
    })
}

/// `None` for a socket or a host name; the error is for a port out of range.
fn listen_address(written: &str) -> Result<Option<SocketAddr>, ()> {
    if written.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = written.parse().ok().filter(|port| *port > 0).ok_or(())?;
        return Ok(Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))));
    }
    let written = match written.strip_prefix('*') {
        Some(port) => format!("{}{port}", Ipv4Addr::UNSPECIFIED),
        None => written.to_owned(),
    };
    let with_port = || format!("{written}:{PORT_DEFAULT}").parse::<SocketAddr>();
    let address = written.parse::<SocketAddr>().or_else(|_| with_port());
    match address {
        Ok(address) if address.port() == 0 => Err(()),
        Ok(address) => Ok(Some(address)),
        Err(_) if written.chars().all(|c| c.is_ascii_digit() || ".:[]".contains(c)) => Err(()),
        Err(_) => Ok(None),
    }
}

const PORT_DEFAULT: u16 = 80;
