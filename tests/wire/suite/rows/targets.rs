//! The first line of a request and its Host: RFC 9112 section 3.

use crate::suite::message::shown;
use crate::suite::row::Row;

/// Requests for odd hosts, targets and versions.
pub(crate) fn rows() -> Vec<Row> {
    [hosts(), absolute_targets(), refused_targets(), served_targets(), versions()].into_iter().flatten().collect()
}

fn hosts() -> Vec<Row> {
    let refused: [&[u8]; 26] = [
        b"",
        b"Host: a^Host: b^",
        b"Host: a^Host: a^",
        b"Host: a^host: ^",
        b"Host: a b^",
        b"Host: a@b^",
        b"Host: a/b^",
        b"Host: a:x^",
        b"Host: a:99999^",
        b"Host: a:-1^",
        b"Host: [::1^",
        b"Host: ::1^",
        b"Host: [a]^",
        b"Host: [::1]x^",
        b"Host: a?x^",
        b"Host: a#x^",
        b"Host: a\\b^",
        b"Host: a,b^",
        b"Host: a..b^",
        b"Host: .^",
        b"Host: a<b^",
        b"Host: a\"b^",
        b"Host: a\xe9^",
        b"Host: a\0b^",
        b"Host : a^",
        b"Host: a^ b^",
    ];
    let row = |fields: &[u8]| {
        let name = if fields.is_empty() { "none".to_owned() } else { shown(fields) };
        Row::new("Host", name, [b"GET / HTTP/1.1^", fields, b"^"].concat()).refused(&[400])
    };
    let served = |host: &'static str, has: &'static [&'static str]| {
        Row::new("Host", host, format!("GET / HTTP/1.1^Host: {host}^^")).node_has(has)
    };
    let empty = Row::new("Host", "empty", b"GET / HTTP/1.1^Host: ^^").answered(&[200, 400]);
    let served = [
        served("a:80", &["host: a:80"]),
        served("a:0080", &["host: a:80"]),
        served("a:", &["host: a"]),
        served("a.", &["host: a"]),
        served("a.:80", &["host: a:80"]),
        served("[::1]:8080", &["host: [::1]:8080"]),
        served("A.Example", &["host: a.example"]),
        empty,
    ];
    refused.into_iter().map(row).chain(served).collect()
}

fn absolute_targets() -> Vec<Row> {
    let row = |sent: &'static [u8]| Row::new("absolute target", shown(sent), sent);
    vec![
        row(b"GET http://b/x HTTP/1.1^Host: a^^").node_has(&["host: b", "GET /x HTTP/1.1"]).node_never(&["host: a"]),
        row(b"GET http://b HTTP/1.1^Host: a^^").node_has(&["host: b", "GET / HTTP/1.1"]).node_never(&["host: a"]),
        row(b"GET http://b?x HTTP/1.1^Host: b^^").node_has(&["host: b", "GET /?x HTTP/1.1"]),
        row(b"GET http://b/x HTTP/1.1^^").refused(&[400]),
        row(b"GET http://b/x HTTP/1.1^Host: a^Host: b^^").refused(&[400]),
        row(b"GET http://b/x HTTP/1.1^Host: a b^^").refused(&[400]),
        row(b"GET http://u@b/x HTTP/1.1^Host: b^^").refused(&[400]),
        row(b"GET http:///x HTTP/1.1^Host: a^^").refused(&[400]),
        row(b"GET ftp://b/x HTTP/1.1^Host: b^^").refused(&[400]),
        row(b"GET http://b:x/ HTTP/1.1^Host: b^^").refused(&[400]),
        row(b"GET http://b/x#y HTTP/1.1^Host: b^^").refused(&[400]),
    ]
}

fn refused_targets() -> Vec<Row> {
    let targets: [&[u8]; 16] = [
        b"a:80",
        b"*",
        b"admin",
        b"",
        b"/a\0b",
        b"/a b",
        b"/a\tb",
        b"/\x7f",
        b"/\xff",
        b"/ ",
        b" /",
        b"?x",
        b"http:/x",
        b"/a\rb",
        b"/a\nb",
        b"/\xe2\x80\xae",
    ];
    let row = |target: &[u8]| {
        let head = [b"GET ", target, b" HTTP/1.1^Host: a^^"].concat();
        Row::new("target forms", format!("GET {}", shown(target)), head).refused(&[400])
    };
    let others = [
        Row::new("target forms", "CONNECT", b"CONNECT a:80 HTTP/1.1^Host: a:80^^").refused(&[405, 400, 501]).may_end(),
        Row::new(
            "target forms",
            "CONNECT, then a request",
            b"CONNECT a:80 HTTP/1.1^Host: a:80^^GET /second HTTP/1.1^\
                 Host: a^^",
        )
        .refused(&[405, 400, 501])
        .most(2),
        Row::new("target forms", "/#frag", b"GET /#frag HTTP/1.1^Host: a^^").refused(&[400]),
        Row::new("target forms", "/a?b#c", b"GET /a?b#c HTTP/1.1^Host: a^^").refused(&[400]),
        Row::new("target forms", "two blanks", b"GET  / HTTP/1.1^Host: a^^").refused(&[400]),
        Row::new("target forms", "a tab for a blank", b"GET\t/ HTTP/1.1^Host: a^^").refused(&[400]),
        Row::new("target forms", "no method", b" / HTTP/1.1^Host: a^^").refused(&[400]),
        Row::new("target forms", "a method that is no token", b"G@T / HTTP/1.1^Host: a^^").refused(&[400]),
    ];
    targets.into_iter().map(row).chain(others).collect()
}

/// What has no other form here than the one it came in: nodes get it so, and keys and the log go by it.
fn served_targets() -> Vec<Row> {
    let row = |target: &str, has: &'static [&'static str]| {
        Row::new("target forms", target, format!("GET {target} HTTP/1.1^Host: a^^")).node_has(has)
    };
    vec![
        row("/%0d%0aX:%20y", &["GET /%0d%0aX:%20y HTTP/1.1"]).node_never(&["x:"]),
        row("/%00", &["GET /%00 HTTP/1.1"]).answered(&[200, 400]),
        row("/a/../b", &["GET /a/../b HTTP/1.1"]),
        row("/a/%2e%2e/b", &["GET /a/%2e%2e/b HTTP/1.1"]),
        row("/a%2Fb", &["GET /a%2Fb HTTP/1.1"]),
        row("//b/x", &["GET //b/x HTTP/1.1"]),
        row("/a//b", &["GET /a//b HTTP/1.1"]),
        row("/?", &["GET /? HTTP/1.1"]),
        row("/;x=1?y=http://z/", &["GET /;x=1?y=http://z/ HTTP/1.1"]),
        Row::new("target forms", "OPTIONS *", b"OPTIONS * HTTP/1.1^Host: a^^").node_has(&["OPTIONS * HTTP/1.1"]),
        Row::new("target forms", "an unknown method", b"FROB / HTTP/1.1^Host: a^^").answered(&[200, 400, 405, 501]),
    ]
}

fn versions() -> Vec<Row> {
    let refused = [
        "",
        " HTTP/2.0",
        " http/1.1",
        " HTTP/1.10",
        " HTTP/01.1",
        " HTTP/1.",
        " HTTP/1",
        " HTTP/",
        " HTTP/0.9",
        " HTTP/3.1",
        " HTTP/1.1 ",
        " HTTP/1,1",
        " HTTP/-1.1",
        " HTTPS/1.1",
        " XTTP/1.1",
    ];
    let row = |version: &str| {
        Row::new("version", format!("GET /{version}"), format!("GET /{version}^Host: a^^")).refused(&[400, 505])
    };
    let later = Row::new("version", "HTTP/1.2", b"GET / HTTP/1.2^Host: a^^");
    let preface = [
        Row::new("version", "a preface cut off", b"PRI * HTTP/2.0^^GET /smuggled HTTP/1.1^Host: a^^"),
        Row::new("version", "PRI in HTTP/1.1", b"PRI * HTTP/1.1^Host: a^^"),
    ];
    let preface = preface.map(|row| row.refused(&[400, 405, 501, 505, 0]));
    refused.into_iter().map(row).chain([later]).chain(preface).collect()
}
