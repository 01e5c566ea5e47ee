//! nginx's configuration: a file with what it includes, or what `nginx -T` prints.
//!
//! After nginx 1.22.1; what later versions and OpenResty add is known by name.

mod known;
mod lexer;
mod routes;
mod servers;
mod settings;
mod tree;
mod upstream;
mod variables;

use crate::import::Imported;
use crate::import::Unreadable;
use crate::import::nginx::routes::Routes;
use crate::import::nginx::settings::Settings;
use crate::import::nginx::tree::Directive;
use crate::import::nginx::variables::Variables;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// What stands in the files that a pattern names, each with its name, in their order.
pub type Include<'a> = dyn Fn(&str) -> Result<Vec<(String, String)>, String> + 'a;

/// Whether an `include` names files by a pattern, as glob(3) takes them: then there may be none.
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// How patterns of files match: a star stops at a slash, and a leading dot has to be written.
pub const PATTERN_RULES: glob::MatchOptions =
    glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Reads a configuration file; `include` gives what an `include` names. Of a dump of `nginx -T`, which holds all files,
/// nothing else is read. A file of `upstream`s and `server`s alone, as an `http` includes them, will do too.
///
/// # Errors
/// When nginx would not take it, as far as that can be seen from what concerns upstreams.
pub fn read(text: &str, include: &Include<'_>) -> Result<Imported, Unreadable> {
    let directives = tree::read(text, include)?;
    let mut imported = Imported::default();
    let (blocks, others): (Vec<_>, Vec<_>) = directives.iter().partition(|directive| directive.name == "http");
    let http: Vec<&Directive> = match blocks.is_empty() {
        true => others,
        false => {
            others.into_iter().for_each(|directive| known::judge(directive, &mut imported));
            blocks.into_iter().flat_map(Directive::children).collect()
        }
    };
    read_http(&http, &mut imported)?;
    imported.left_out.sort_by(|one, other| one.place.cmp(&other.place));
    imported.left_out.dedup();
    let mut said = BTreeSet::new();
    imported.left_out.retain(|left_out| {
        known::ONCE.iter().position(|why| **why == left_out.why).is_none_or(|index| said.insert(index))
    });
    Ok(imported)
}

fn read_http(http: &[&Directive], imported: &mut Imported) -> Result<(), Unreadable> {
    let named = |name: &'static str| http.iter().copied().filter(move |directive| directive.name == name);
    let variables = Variables::new(http, scheme(http));
    let upstreams = named("upstream").map(|directive| upstream::read(directive, &variables, imported));
    let upstreams = upstreams.collect::<Result<Vec<_>, _>>()?;
    let block: Vec<Directive> = http.iter().filter(|directive| directive.block.is_none()).copied().cloned().collect();
    let settings = Settings::default().within(&block)?;
    let servers = named("server").map(|directive| servers::read(directive, &settings, &upstreams, imported));
    let servers = servers.collect::<Result<Vec<_>, _>>()?;
    settings::judge(&block, imported);
    for directive in http.iter().filter(|directive| directive.block.is_some()) {
        match directive.name.as_str() {
            "server" | "upstream" => {}
            "map" if variables.takes(directive) => {}
            _ => known::judge(directive, imported),
        }
    }
    servers.iter().filter(|server| server.is_carried()).for_each(|server| server.note(imported));
    without_twins(imported);
    Routes { servers: &servers, upstreams: &upstreams }.add_to(imported);
    Ok(())
}

/// `[::]:80` takes what comes to `0.0.0.0:80` too, so that a process cannot listen on both.
fn without_twins(imported: &mut Imported) {
    let for_both: Vec<SocketAddr> = imported.listen.iter().filter(|address| is_any_v6(address)).copied().collect();
    let has_both = |port| for_both.iter().any(|address| address.port() == port);
    imported.listen.retain(|address| is_any_v6(address) || !address.ip().is_unspecified() || !has_both(address.port()));
}

fn is_any_v6(address: &SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

/// `$scheme`, where it is the same for all servers.
fn scheme(http: &[&Directive]) -> Option<&'static str> {
    let servers = http.iter().filter(|directive| directive.name == "server");
    let listens = servers.flat_map(|server| server.children()).filter(|child| child.name == "listen");
    let has_tls = |listen: &Directive| listen.args.iter().any(|parameter| parameter == "ssl" || parameter == "quic");
    let mut all = listens.map(has_tls);
    let first = all.next().unwrap_or(false);
    all.all(|has_tls| has_tls == first).then_some(if first { "https" } else { "http" })
}

#[cfg(test)]
mod tests;
