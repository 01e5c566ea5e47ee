//! `ringway explain`: why a request or a key goes where it goes.

use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::offline::Offline;
use crate::cli::output::Output;
use crate::cli::target::PoolArg;
use crate::cli::target::Target;
use crate::cli::target::TargetArgs;
use crate::control::explain;
use crate::control::explain::Candidate;
use crate::control::explain::Explanation;
use crate::control::explain::Question;
use crate::control::explain::Skipped;
use crate::control::explain::Verdict;
use crate::proxy::settings::PoolSettings;
use clap::Args;
use std::net::IpAddr;

/// Say why a request goes where it goes
///
/// Shows the pool it falls under, its key and where that was found, the owner of the key, and the nodes that are tried
/// after it or never.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway explain 'GET /ws?room=9'
  ringway explain /ws -H 'x-room: 9' --host chat.example.com --client-ip 10.1.2.3
  ringway explain 'POST /v1/chat/completions' --body '{\"prompt_cache_key\": \"9\"}'
  ringway explain -c ringway.toml --pool rooms --key 9")]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// The key itself, in place of a request
    #[arg(long, value_name = "KEY", conflicts_with_all = ["request", "headers", "host", "client_ip", "body"])]
    key: Option<String>,
    /// The request: 'METHOD PATH', or only a path or URL for a GET
    #[arg(value_name = "REQUEST", required_unless_present = "key")]
    request: Option<String>,
    /// A header field of the request, such as 'x-room: 9'; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The host the request is for
    #[arg(long)]
    host: Option<String>,
    /// The address of the client
    #[arg(long, value_name = "IP")]
    client_ip: Option<IpAddr>,
    /// The body of the request, or its beginning; empty for none
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
}

/// Asks the pool that is named, or else the one that the request falls under.
pub(super) fn run(args: &ExplainArgs, out: &mut Output) -> Result<(), Failure> {
    let question = question(args);
    let pool = args.target.pool();
    let explanation = match args.target.open()? {
        Target::Live(client) => ask_live(&client, pool, &question)?,
        Target::Offline(offline) => ask_offline(&offline, pool, &question)?,
    };
    match args.json {
        true => out.json(&explanation),
        false => show(&explanation, out),
    }
}

fn question(args: &ExplainArgs) -> Question {
    let request = args.request.as_deref().map(str::trim);
    let (method, path) = match request.map(|request| request.split_once(' ').ok_or(request)) {
        Some(Ok((method, path))) => (Some(method), Some(path.trim_start())),
        Some(Err(path)) => (None, Some(path)),
        None => (None, None),
    };
    Question {
        key: args.key.clone(),
        method: method.map(str::to_owned),
        host: args.host.clone(),
        path: path.map(str::to_owned),
        headers: args.headers.clone(),
        client_ip: args.client_ip,
        body: args.body.clone(),
    }
}

/// The pool to ask first. A key alone does not say which pool it is meant for; a request does, and whichever pool is
/// asked knows which.
fn first_pool(names: &[&str], asked: &PoolArg, question: &Question) -> Result<String, Failure> {
    match names.first() {
        Some(first) if question.key.is_none() && !asked.is_given() => Ok((*first).to_owned()),
        _ => asked.choose(names.iter().copied()),
    }
}

/// The pool that takes the request, when it is another one than was asked and none was named.
fn better_pool<'a>(explanation: &'a Explanation, asked: &PoolArg) -> Option<&'a str> {
    let taker = explanation.matched.as_ref()?.pool.as_deref()?;
    (!asked.is_given() && taker != explanation.pool).then_some(taker)
}

fn ask_live(client: &Client, asked: &PoolArg, question: &Question) -> Result<Explanation, Failure> {
    let pools = client.pools()?;
    let names: Vec<&str> = pools.iter().map(|pool| pool.pool.as_str()).collect();
    let ask = |pool: &str| client.post::<Explanation>(&format!("/v1/pools/{pool}/explain"), question);
    let explanation = ask(&first_pool(&names, asked, question)?)?;
    match better_pool(&explanation, asked) {
        Some(pool) => ask(pool),
        None => Ok(explanation),
    }
}

fn ask_offline(offline: &Offline, asked: &PoolArg, question: &Question) -> Result<Explanation, Failure> {
    let pools: Vec<&PoolSettings> = offline.config.pools.iter().map(|pool| &pool.settings).collect();
    let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
    let ask = |name: &str| {
        let pool = offline.config.pool(name);
        let pool = pool.ok_or_else(|| Failure::Usage(format!("there is no pool `{name}`")))?;
        let at = offline.pool_at(pool, None)?;
        let answer = explain::explain(&pools, &at, question);
        answer.map_err(|error| Failure::Usage(error.to_string()))
    };
    let explanation = ask(&first_pool(&names, asked, question)?)?;
    match better_pool(&explanation, asked) {
        Some(pool) => ask(pool),
        None => Ok(explanation),
    }
}

fn show(explanation: &Explanation, out: &mut Output) -> Result<(), Failure> {
    let mut lines = vec![("pool", pool(explanation))];
    // Without a pool there is nothing to say about its keys and nodes.
    if explanation.decision != Verdict::NoPool {
        lines.push(("key", key(explanation)));
        lines.extend(explanation.hash.iter().map(|hash| ("hash", hash.clone())));
        lines.extend(candidates(&explanation.candidates));
        let why_not = |node: &Skipped| format!("{} at {}: {}", node.name, node.address, node.why);
        lines.extend(explanation.skipped.iter().map(|node| ("skipped", why_not(node))));
        let (epoch, fingerprint) = (explanation.epoch, explanation.fingerprint);
        lines.push(("epoch", format!("{epoch} of pool {}, fingerprint {fingerprint}", explanation.pool)));
    }
    lines.push(("so", explanation.why.clone()));
    lines.into_iter().try_for_each(|(label, text)| out.line(format_args!("{label:<9} {text}")))
}

fn pool(explanation: &Explanation) -> String {
    match &explanation.matched {
        Some(matched) => format!("{}: {}", matched.pool.as_deref().unwrap_or("none"), matched.why),
        None => explanation.pool.clone(),
    }
}

fn key(explanation: &Explanation) -> String {
    match (&explanation.key, &explanation.key_source) {
        (Some(key), Some(source)) => format!("{key}, from {source}"),
        (Some(key), None) => key.clone(),
        (None, _) => format!("none; looked at {}", explanation.key_rule),
    }
}

/// The owner, the nodes after it, and how many more there are.
fn candidates(candidates: &[Candidate]) -> Vec<(&'static str, String)> {
    let labels = ["owner", "then"].into_iter().chain(std::iter::repeat(""));
    let shown = candidates.iter().take(CANDIDATES_SHOWN).map(describe);
    let hidden = candidates.len().saturating_sub(CANDIDATES_SHOWN);
    let rest = (hidden > 0).then(|| format!("and {hidden} more (--json shows all)"));
    labels.zip(shown.chain(rest)).collect()
}

fn describe(candidate: &Candidate) -> String {
    let zone = candidate.zone.as_deref().map(|zone| format!(", zone {zone}")).unwrap_or_default();
    let ill = candidate.ill.as_deref().map(|ill| format!(", down: {ill}")).unwrap_or_default();
    format!("{} at {}{zone}{ill}", candidate.name, candidate.address)
}

/// Nodes that are shown to people.
const CANDIDATES_SHOWN: usize = 6;
