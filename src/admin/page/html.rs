//! The page as text: what can be read without a script, which takes over where it runs.

use crate::admin::model::NodeHealth;
use crate::admin::model::NodeState;
use crate::admin::model::NodeStatus;
use crate::admin::model::PoolDetail;
use crate::admin::model::PoolOwner;
use crate::admin::model::PoolStatus;
use crate::admin::model::Status;
use crate::admin::model::Wellness;
use crate::admin::svg::escape;
use std::fmt::Write;

/// What is to be shown.
pub(super) struct View<'a> {
    /// How the proxy does; of one pool with its nodes.
    pub(super) status: &'a Status,
    /// That pool; `None` when there is none.
    pub(super) detail: Option<&'a PoolDetail>,
    /// The name by which it was asked for.
    pub(super) wanted: Option<&'a str>,
    /// The number of the first node to show.
    pub(super) from: usize,
}

/// The page without data, which asks for a token.
pub(super) fn ask_for_token() -> String {
    let nothing = "<tr><td colspan=\"10\">Give the token to see the nodes.</td></tr>";
    fill(&[("title", "Ringway"), ("access", "token"), ("rows", nothing)])
}

/// The page with data.
pub(super) fn render(view: &View<'_>) -> String {
    let name = view.detail.map(|detail| detail.pool.as_str());
    let pool = view.status.pools.iter().find(|pool| Some(pool.pool.as_str()) == name);
    let title = name.map_or_else(|| "Ringway".to_owned(), |name| format!("{} · Ringway", escape(name)));
    let (shown, rest) = pool.map(|pool| rows(pool, view.from)).unwrap_or_default();
    fill(&[
        ("title", &title),
        ("access", "open"),
        ("name", &name.map(escape).unwrap_or_default()),
        ("pools", &pools(&view.status.pools, name)),
        ("notice", &notice(view)),
        ("rule", &view.detail.map(rule).unwrap_or_default()),
        ("figures", &pool.map(figures).unwrap_or_default()),
        ("picture", &name.map(picture).unwrap_or_default()),
        ("rows", &shown),
        ("rest", &rest),
    ])
}

/// The page with `{{name}}` replaced by the value of that name; what has none is left out.
fn fill(values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(PAGE.len() + values.iter().map(|(_, value)| value.len()).sum::<usize>());
    let mut pieces = PAGE.split("{{");
    text.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, after) = piece.split_once("}}").unwrap_or((piece, ""));
        let value = values.iter().find(|(known, _)| *known == name);
        text.push_str(value.map_or("", |(_, value)| value));
        text.push_str(after);
    }
    text
}

/// What is wrong with what was asked for.
fn notice(view: &View<'_>) -> String {
    match (view.detail, view.wanted) {
        (Some(_), _) => String::new(),
        (None, Some(name)) => format!("There is no pool “{}”. Choose one above.", escape(name)),
        (None, None) => "This proxy has no pool. Give it one in its config file.".to_owned(),
    }
}

fn pools(pools: &[PoolStatus], chosen: Option<&str>) -> String {
    let item = |pool: &PoolStatus| {
        let current = if Some(pool.pool.as_str()) == chosen { " aria-current=\"page\"" } else { "" };
        let (name, link) = (escape(&pool.pool), in_query(&pool.pool));
        let (up, active, rate) = (pool.nodes_up, pool.nodes_active, rate(pool.requests_per_second));
        let ill = if up < active { " class=\"hurt\"" } else { "" };
        format!(
            "<li><a href=\"/?pool={link}\"{current}>{name} <small{ill}>{up}/{active} up · {rate} req/s</small></a></li>"
        )
    };
    pools.iter().map(item).collect()
}

fn rule(detail: &PoolDetail) -> String {
    let owner = match detail.owner {
        PoolOwner::File => "nodes from the config file",
        PoolOwner::Store => "nodes from the store",
    };
    format!("key {} · {} · {owner}", escape(&detail.key), detail.placement)
}

fn figures(pool: &PoolStatus) -> String {
    let hurt = if pool.nodes_up < pool.nodes_active { " hurt" } else { "" };
    let fingerprint = pool.fingerprint.to_string();
    let spill = part(pool.spill_ratio);
    let no_key = part(pool.no_key_ratio);
    let values = [
        ("epoch", "Epoch", "", pool.epoch.to_string()),
        ("fingerprint", "Fingerprint", " code", fingerprint),
        ("up", "Nodes up", hurt, format!("{}/{}", pool.nodes_up, pool.nodes_active)),
        ("rate", "Requests/s", "", rate(pool.requests_per_second)),
        ("imbalance", "Imbalance", "", format!("{:.2}×", pool.imbalance_ratio)),
        ("spill", "Spilled", "", spill),
        ("no-key", "Without key", "", no_key),
    ];
    let figure = |(id, name, class, value): &(&str, &str, &str, String)| {
        format!("<div><dt>{name}</dt><dd id=\"figure-{id}\" class=\"figure{class}\">{value}</dd></div>")
    };
    values.iter().map(figure).collect()
}

fn picture(name: &str) -> String {
    let link = in_query(name);
    format!("<img src=\"/v1/pools/{link}/ring\" alt=\"Who owns how much of pool {}\" width=\"560\">", escape(name))
}

/// A piece of the nodes as rows of the table, and where the others are.
fn rows(pool: &PoolStatus, from: usize) -> (String, String) {
    let all: f64 = pool.nodes.iter().map(|node| node.requests_per_second).sum();
    let from = if from < pool.nodes.len() { from } else { 0 };
    let mut text = String::new();
    for node in pool.nodes.iter().skip(from).take(ROWS_MAX) {
        row(&mut text, node, all);
    }
    if pool.nodes.is_empty() {
        text.push_str("<tr><td colspan=\"10\">This pool has no node yet. Stage one below.</td></tr>");
    }
    let (to, count) = ((from + ROWS_MAX).min(pool.nodes.len()), pool.nodes.len());
    if count <= ROWS_MAX {
        return (text, String::new());
    }
    let link = in_query(&pool.pool);
    let next = if to < count { to } else { 0 };
    let rest = format!("nodes {} to {to} of {count} · <a href=\"/?pool={link}&amp;from={next}\">more</a>", from + 1);
    (text, rest)
}

fn row(text: &mut String, node: &NodeStatus, all: f64) {
    let (name, address) = (escape(&node.name), escape(&node.address));
    let zone = node.zone.as_deref().map(|zone| format!(" · zone {}", escape(zone))).unwrap_or_default();
    let weight = if node.weight == 1 { String::new() } else { format!(" · weight {}", node.weight) };
    let (class, word, why) = state(node);
    let served = part((all > 0.0).then(|| node.requests_per_second / all));
    let bound = node.bound.map(|bound| format!(" / {bound}")).unwrap_or_default();
    let why = why.map(|why| format!("<small>{}</small>", escape(&why))).unwrap_or_default();
    // Of a node that answers nothing, what was is no figure of now.
    let is_asked = node.requests_per_second > 0.0;
    let numbers = [
        part(Some(node.share)),
        served,
        rate(node.requests_per_second),
        format!("{}{bound}", node.inflight),
        seconds(node.p50_seconds.filter(|_| is_asked)),
        seconds(node.p99_seconds.filter(|_| is_asked)),
        part(node.failure_ratio),
    ];
    write!(
        text,
        "<tr><th scope=\"row\"><span class=\"name\">{name}</span><small>{address}{weight}{zone}</small></th>\
         <td class=\"state {class}\">{word}{why}</td>"
    )
    .expect("a String takes any text");
    numbers.iter().for_each(|number| {
        write!(text, "<td class=\"number\">{number}</td>").expect("a String takes any text");
    });
    text.push_str("<td></td></tr>\n");
}

/// How a node is: a class, a word, and why.
fn state(node: &NodeStatus) -> (&'static str, &'static str, Option<String>) {
    let NodeHealth { is, cause, .. } = &node.health;
    match (node.state, is) {
        (_, Wellness::Ill) => ("ill", "ill", cause.clone()),
        (_, Wellness::Trial) => ("trial", "on trial", cause.clone()),
        (NodeState::Draining, _) => ("draining", "draining", Some(format!("{} in flight", node.inflight))),
        (NodeState::Active, Wellness::Well) => ("well", "well", None),
    }
}

fn part(ratio: Option<f64>) -> String {
    ratio.map_or_else(none, |ratio| format!("{:.1} %", ratio * 100.0))
}

fn rate(per_second: f64) -> String {
    if per_second < 10.0 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

fn seconds(seconds: Option<f64>) -> String {
    match seconds {
        Some(seconds) if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.2} s"),
        None => none(),
    }
}

fn none() -> String {
    "–".to_owned()
}

/// A text as a part of a path or as a value in a query.
fn in_query(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("a String takes any text"),
        }
    }
    encoded
}

/// Rows of one piece of the table.
const ROWS_MAX: usize = 250;

/// What is the same in each page.
const PAGE: &str = include_str!("page.html");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_page_is_one_that_is_filled() {
        let names = PAGE.split("{{").skip(1).map(|piece| piece.split_once("}}").unwrap().0);
        let known = ["title", "access", "name", "pools", "notice", "rule", "figures", "picture", "rows", "rest"];
        let unknown: Vec<&str> = names.filter(|name| !known.contains(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(known.iter().all(|name| PAGE.contains(&format!("{{{{{name}}}}}"))));
    }

    #[test]
    fn a_name_in_a_link_is_only_a_name() {
        assert_eq!(in_query("a b&c=\"d\"é"), "a%20b%26c%3D%22d%22%C3%A9");
    }

    #[test]
    fn figures_have_the_digits_that_tell_something() {
        assert_eq!([part(Some(0.1234)), part(None)], ["12.3 %", "–"]);
        assert_eq!([rate(0.0), rate(9.96), rate(1234.5)], ["0.0", "10.0", "1234"]);
        assert_eq!([seconds(Some(0.00493)), seconds(Some(2.5)), seconds(None)], ["4.9 ms", "2.50 s", "–"]);
    }
}
