//! Responses that the proxy makes itself while the body of the request, which reads like another one, is still to come.

use crate::suite::row::Replies;
use crate::suite::row::Reply;
use crate::suite::row::Row;
use crate::suite::row::Step;
use crate::suite::row::Then;
use crate::suite::row::bytes;

/// Requests that any proxy answers itself.
pub(crate) fn rows() -> Vec<Row> {
    let target = format!("/{}", "x".repeat(60 << 10));
    let many = (0..1_000).map(|number| format!("X-{number}: x^")).collect::<String>();
    [
        ways("405", "CONNECT", "a:80", "Host: a^", &[405, 400, 501]),
        ways("414", "POST", &target, "Host: a^", &[414, 400, 431]),
        ways("431", "POST", "/", &format!("Host: a^{many}"), &[431, 400]),
        ways("400", "POST", "/", "Host: a b^", &[400]),
    ]
    .into_iter()
    .flatten()
    // Who takes them may pass them on.
    .map(|row| row.most(1))
    .collect()
}

/// Requests that Ringway answers itself because of the pools that `tests/wire/main.rs` gives it, one for each host.
pub(crate) fn ringways_rows() -> Vec<Row> {
    let silent = Reply::of("").then(Then::Stop).always();
    let mut rows: Vec<Row> = [
        ways("404, no pool", "POST", "/", "Host: nowhere^", &[404]),
        ways("414, a long target", "POST", &format!("/{}", "x".repeat(10_000)), "Host: a^", &[414]),
        ways("400, no key", "POST", "/", "Host: keyed^", &[400]),
        ways("503, no node", "POST", "/", "Host: empty^", &[503]),
        ways("502, no connection", "POST", "/", "Host: dead^", &[502]),
        ways("508, a loop", "POST", "/", "Host: a^Via: 1.1 ringway-0000000000000000^", &[508]),
    ]
    .into_iter()
    .flatten()
    .collect();
    let slow = ways("504, a silent node", "POST", "/", "Host: slow^", &[504]).into_iter().take(WHOLE_WAYS);
    rows.extend(slow.map(|row| row.answered(&[504]).most(1).replies(silent.clone())));
    rows.extend(large("413, a key too far in", "Host: body^Content-Type: application/json^", &[413]));
    rows
}

/// How a request and a body that is pending may come.
fn ways(name: &str, method: &str, target: &str, fields: &str, statuses: &'static [u16]) -> Vec<Row> {
    let head = |framing: &str| bytes(format!("{method} {target} HTTP/1.1^{fields}{framing}^"));
    let at_once = |framing: &str, body: &[u8]| vec![Step::Send([&head(framing)[..], body].concat())];
    let later = |framing: &str| vec![Step::Send(head(framing)), Step::Await, Step::Send(smuggled())];
    let padded = [&[b'x'; 30_000][..], &smuggled()].concat();
    let chunks = bytes([b"23^", &smuggled()[..], b"^0^^"].concat());
    let ways = [
        ("a length", at_once("Content-Length: 35^", &smuggled())),
        ("chunks", at_once("Transfer-Encoding: chunked^", &chunks)),
        ("a body that is larger", at_once("Content-Length: 30035^", &padded)),
        ("half of the body", at_once("Content-Length: 70^", &smuggled())),
        ("a body that comes later", later("Content-Length: 35^")),
        ("a body that waits", later("Content-Length: 35^Expect: 100-continue^")),
    ];
    let row = |(way, steps)| own(format!("{name}: {way}"), steps, statuses);
    ways.map(row).into()
}

/// How many of these ways leave nothing to wait for.
const WHOLE_WAYS: usize = 3;

/// A request whose body is too large.
fn large(name: &str, fields: &str, statuses: &'static [u16]) -> Vec<Row> {
    let padding = format!("{{\"x\": \"{}", "x".repeat(30_000));
    let head = format!("POST / HTTP/1.1^{fields}Content-Length: {}^^", padding.len() + smuggled().len());
    let whole = [&bytes(&head)[..], padding.as_bytes(), &smuggled()].concat();
    let begun = bytes([head.as_bytes(), &padding.as_bytes()[..2_000]].concat());
    let rest = [&padding.as_bytes()[2_000..], &smuggled()].concat();
    vec![
        own(format!("{name}: at once"), vec![Step::Send(whole)], statuses),
        own(format!("{name}: in parts"), vec![Step::Send(begun), Step::Await, Step::Send(rest)], statuses),
    ]
}

fn own(name: String, steps: Vec<Step>, statuses: &'static [u16]) -> Row {
    let replies = Replies::default();
    Row::of_steps("replies of the proxy", name, steps).replies(replies).refused(statuses).may_end().most(0)
}

fn smuggled() -> Vec<u8> {
    bytes("GET /smuggled HTTP/1.1^Host: a^^")
}
