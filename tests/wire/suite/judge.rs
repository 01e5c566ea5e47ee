//! Holds what the client and the node got against what is right.

use crate::suite::client::End;
use crate::suite::finding::Finding;
use crate::suite::http1::Got;
use crate::suite::message::Message;
use crate::suite::message::shown;
use crate::suite::node::AFTER;
use crate::suite::node::NEXT;
use crate::suite::node::Seen;
use crate::suite::node::body_for;
use crate::suite::row::Row;

/// Everything that is wrong with how a row went, but for what the next client got.
pub(crate) fn findings(row: &Row, got: Option<&Got>, seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    judge_node(row, seen, &mut findings);
    if let Some(got) = got {
        judge_answers(row, got, &mut findings);
        judge_client(row, got, &mut findings);
    }
    findings
}

/// What is wrong with what the next client got: it has nothing to do with the row.
pub(crate) fn next_findings(answer: Option<&Message>, bytes: &[u8]) -> Vec<Finding> {
    let Some(answer) = answer else {
        let is_hard = !bytes.is_empty();
        let what = format!("the next client got {:?}", shown(bytes));
        return vec![if is_hard { Finding::hard(what) } else { Finding::lenient(what) }];
    };
    if answer.status() == 200 && answer.body == body_for(NEXT).as_bytes() && answer.length == bytes.len() {
        return Vec::new();
    }
    let what = format!("the next client got {:?}", shown(bytes));
    // What the proxy says itself is no more than a nuisance.
    vec![if matches!(answer.status(), 502..=504) { Finding::lenient(what) } else { Finding::hard(what) }]
}

fn judge_node(row: &Row, seen: &Seen, findings: &mut Vec<Finding>) {
    let own: Vec<&Message> = seen.requests.iter().filter(|request| !is_added(request)).collect();
    for request in &seen.requests {
        findings.extend(request.findings.iter().map(|finding| said_of("node", finding)));
    }
    for rest in &seen.rest {
        findings.push(Finding::hard(format!("the node got {:?}, which is no request", shown(rest))));
    }
    let requests = distinct(&own);
    if requests.len() > row.right.most {
        let lines: Vec<&str> = requests.iter().map(|request| request.line.as_str()).collect();
        findings.push(Finding::hard(format!("more requests at the node than were sent: {lines:?}")));
    }
    let whole = requests.iter().filter(|request| request.is_whole).count();
    if row.right.is_cut && whole > 0 && row.replies.always.is_none() {
        findings.push(Finding::hard("the node took a truncated request for a whole one"));
    } else if !row.right.whole.contains(&whole) {
        findings.push(Finding::lenient(format!("{whole} whole requests at the node")));
    }
    if seen.is_hanging {
        findings.push(Finding::lenient("a connection to the node was left open in the middle of a request"));
    }
    requests.iter().for_each(|request| judge_request(row, request, findings));
}

/// Holds one request that the node got against what is right for the row.
fn judge_request(row: &Row, request: &Message, findings: &mut Vec<Finding>) {
    let lines: Vec<String> = request.lines().collect();
    let has = |line: &str| lines.iter().any(|of| of.starts_with(line));
    // A whole line, or what one begins with where only the name of a field is given.
    let has_whole = |line: &str| lines.iter().any(|of| of == line) || (line.ends_with(": ") && has(line));
    let lacking = row.right.node_has.iter().filter(|line| !has_whole(line));
    findings.extend(lacking.map(|line| Finding::lenient(format!("the node did not get {line:?}"))));
    let too_much = row.right.node_lacks.iter().filter(|line| has(line));
    findings.extend(too_much.map(|line| Finding::lenient(format!("the node got {line:?}"))));
    let never = row.right.node_never.iter().filter(|line| has(line));
    findings.extend(never.map(|line| Finding::hard(format!("the node got {line:?}"))));
    if let Some(body) = row.right.node_body
        && request.is_whole
        && request.body != body
    {
        findings.push(Finding::hard(format!("the node got the body {:?}", shown(&request.body))));
    }
}

fn judge_answers(row: &Row, got: &Got, findings: &mut Vec<Finding>) {
    let right = &row.right.answers;
    for (index, allowed) in right.iter().enumerate() {
        let status = got.answers.get(index).map_or(0, Message::status);
        let is_allowed = allowed.contains(&status) && (status != 0 || got.end != End::Silent);
        if !is_allowed {
            let how = if status == 0 { format!(" ({:?})", got.end) } else { String::new() };
            findings.push(Finding::lenient(format!("answer {} is {status}{how}, not one of {allowed:?}", index + 1)));
        }
    }
    if got.answers.len() > right.len() {
        // That of a request which was none is found at the node, if it got there.
        findings.push(Finding::lenient(format!("{} answers to {} requests", got.answers.len(), right.len())));
    }
    if got.end == End::Reset && !got.answers.is_empty() && !row.right.may_reset {
        findings.push(Finding::lenient("the connection was reset, so that the answer may be lost"));
    }
    match row.right.ends {
        // One that is silent was left open.
        Some(true) if got.is_usable || got.end == End::Silent => {
            findings.push(Finding::lenient(format!("the connection goes on ({:?})", got.end)));
        }
        Some(false) if !got.is_usable => {
            findings.push(Finding::lenient(format!("the connection does not go on ({:?})", got.end)));
        }
        _ => {}
    }
}

fn judge_client(row: &Row, got: &Got, findings: &mut Vec<Finding>) {
    if !got.rest.is_empty() {
        findings.push(Finding::hard(format!("the client got {:?}, which is no response", shown(&got.rest))));
    }
    for answer in &got.answers {
        findings.extend(answer.findings.iter().map(|finding| said_of("client", finding)));
        let lines: Vec<String> = answer.lines().collect();
        let has = |line: &&&str| lines.iter().any(|of| of.starts_with(**line));
        let too_much = row.right.client_lacks.iter().filter(has);
        findings.extend(too_much.map(|line| Finding::lenient(format!("the client got {line:?}"))));
        let never = row.right.client_never.iter().filter(has);
        findings.extend(never.map(|line| Finding::hard(format!("the client got {line:?}"))));
        if row.right.is_cut && row.replies.always.is_some() && answer.is_whole && answer.status() == 200 {
            findings.push(Finding::hard("the client took a truncated response for a whole one"));
        }
        if !row.right.is_cut && answer.status() == 200 && !answer.is_whole {
            findings.push(Finding::lenient("the client got a part of its response"));
        }
    }
    if let (Some(body), Some(answer)) = (row.right.client_body, got.answers.first())
        && answer.status() == 200
        && answer.is_whole
        && answer.body != body
    {
        findings.push(Finding::hard(format!("the client got the body {:?}", shown(&answer.body))));
    }
}

/// Requests as they are counted: one that may be sent again counts once however often it came.
fn distinct<'a>(requests: &[&'a Message]) -> Vec<&'a Message> {
    let mut distinct = Vec::<&Message>::new();
    for request in requests {
        let may_repeat = matches!(request.method(), "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE");
        if !(may_repeat && distinct.iter().any(|other| other.line == request.line)) {
            distinct.push(request);
        }
    }
    distinct
}

/// Whether it is a request that the suite adds to each row.
fn is_added(request: &Message) -> bool {
    [AFTER, NEXT].contains(&request.target())
}

fn said_of(whom: &str, finding: &Finding) -> Finding {
    Finding { grade: finding.grade, what: format!("the {whom} got {}", finding.what) }
}
