//! Heads of requests: their lines, the names and values of fields, and what belongs to one connection (RFC 9112
//! sections 2.2 and 5, RFC 9110 section 7.6).

use crate::suite::message::shown;
use crate::suite::row::Row;
use crate::suite::row::Step;
use crate::suite::row::bytes;

/// Requests whose fields are not what they seem.
pub(crate) fn rows() -> Vec<Row> {
    [lines(), names(), sizes(), hop_by_hop(), nominations(), old_versions(), switches()].into_iter().flatten().collect()
}

fn lines() -> Vec<Row> {
    let row = |name: &str, head: &[u8]| Row::new("line ends", name, head).refused(&[400]);
    let refused: [(&str, &[u8]); 8] = [
        ("CR in a value", b"GET / HTTP/1.1^Host: a^X: y\rZ: z^^"),
        ("CR in a name", b"GET / HTTP/1.1^Host: a^X\rY: z^^"),
        ("CR CR LF", b"GET / HTTP/1.1^Host: a^X: y\r\r\n^"),
        ("NUL in a value", b"GET / HTTP/1.1^Host: a^X: y\0z^^"),
        ("a control byte in a value", b"GET / HTTP/1.1^Host: a^X: y\x01z^^"),
        ("DEL in a value", b"GET / HTTP/1.1^Host: a^X: y\x7fz^^"),
        ("space before the first field", b"GET / HTTP/1.1^ X: y^Host: a^^"),
        ("a folded line", b"GET / HTTP/1.1^Host: a^X: y^ z^^"),
    ];
    let bare: [(&str, &[u8]); 5] = [
        ("only LF", b"GET / HTTP/1.1\nHost: a\n\n"),
        ("LF behind the request line", b"GET / HTTP/1.1\nHost: a^^"),
        ("LF at the end of the head", b"GET / HTTP/1.1^Host: a^\n"),
        ("LF behind a field", b"GET / HTTP/1.1^Host: a^X: y\nZ: z^^"),
        ("LF as the first line", b"\nGET / HTTP/1.1^Host: a^^"),
    ];
    let served = [
        Row::new("line ends", "an empty line first", b"^GET / HTTP/1.1^Host: a^^"),
        Row::get("line ends", "a tab in a value", b"X: y\tz^").node_has(&["x: y\tz"]),
        Row::get("line ends", "bytes beyond ASCII in a value", b"X: \xff^").node_has(&["x: \u{ff}"]),
        Row::get("line ends", "space around a value", b"X: \t y \t^").node_has(&["x: y"]),
    ];
    refused.into_iter().chain(bare).map(|(name, head)| row(name, head)).chain(served).collect()
}

fn names() -> Vec<Row> {
    let refused: [&[u8]; 12] = [
        b": x",
        b"nocolon",
        b"X(y: 1",
        b"X\xe9: 1",
        b"X\0: 1",
        b"X y: 1",
        b"X : 1",
        b"X\t: 1",
        b"\"X\": 1",
        b"X/y: 1",
        b"X[y]: 1",
        b"{X}: 1",
    ];
    let refused = refused.into_iter().map(|field| {
        let row = Row::get("names", shown(field), [field, b"^"].concat());
        row.refused(&[400])
    });
    let underscored: [(&[u8], &[&str]); 4] = [
        (b"X_Forwarded_For: 6.6.6.6^", &["x_forwarded_for:"]),
        (b"Content_Length: 9^", &["content_length:"]),
        (b"Transfer_Encoding: chunked^", &["transfer_encoding:"]),
        (b"X-Forwarded_For: 6.6.6.6^", &["x-forwarded_for:"]),
    ];
    let underscored =
        underscored.into_iter().map(|(field, lacks)| Row::get("names", shown(field), field).node_lacks(lacks));
    let odd = Row::get("names", "every byte that a name may have", b"x!#$%&'*+-.`|~9: 1^");
    refused.chain(underscored).chain([odd]).collect()
}

fn sizes() -> Vec<Row> {
    let many = |count: usize| (0..count).map(|number| format!("X-{number}: x^")).collect::<String>();
    let long = |length: usize| format!("X: {}^", "x".repeat(length));
    vec![
        Row::new("sizes", "a target of 128 kB", format!("GET /{} HTTP/1.1^Host: a^^", "x".repeat(128 << 10)))
            .refused(&[414, 431, 400])
            .too_much(),
        Row::get("sizes", "a value of 600 kB", long(600_000)).refused(&[431, 400]).too_much(),
        Row::get("sizes", "a name of 70 kB", format!("{}: x^", "x".repeat(70_000))).refused(&[431, 400]).too_much(),
        Row::get("sizes", "5,000 fields", many(5_000)).refused(&[431, 400]).too_much(),
        Row::get("sizes", "fields without end", many(5_000).repeat(20)).refused(&[431, 400]).too_much(),
        Row::new("sizes", "a method of 70 kB", format!("{} / HTTP/1.1^Host: a^^", "X".repeat(70_000)))
            .refused(&[400, 405, 431, 501])
            .too_much(),
        Row::new("sizes", "70 kB without a line", "x".repeat(70_000)).refused(&[400, 414, 431]).too_much(),
        Row::get("sizes", "50 fields", many(50)),
        Row::get("sizes", "a value of 4 kB", long(4_000)),
    ]
}

fn hop_by_hop() -> Vec<Row> {
    let lacks: [(&[u8], &'static [&'static str]); 8] = [
        (b"Connection: keep-alive, X-Foo^X-Foo: 1^", &["x-foo:"]),
        (b"Connection: keep-alive^Connection: X-Foo^X-Foo: 1^", &["x-foo:"]),
        (b"connection: ,,x-FOO,^X-Foo: 1^", &["x-foo:"]),
        (b"Connection: keep-alive^Keep-Alive: timeout=5^", &["keep-alive:"]),
        (b"Proxy-Connection: keep-alive^", &["proxy-connection:"]),
        (b"TE: gzip^Connection: TE^", &["te: gzip"]),
        (b"TE: gzip^", &["te: gzip"]),
        (
            b"Connection: Upgrade, HTTP2-Settings^Upgrade: h2c^HTTP2-Settings: AAMAAABk^",
            &["upgrade:", "http2-settings:"],
        ),
    ];
    let row = |(fields, lacks): (&[u8], _)| Row::get("hop by hop", shown(fields), fields).node_lacks(lacks);
    let close = Row::get("hop by hop", "close and a field", b"Connection: close, X-Foo^X-Foo: 1^");
    lacks.into_iter().map(row).chain([close.node_lacks(&["x-foo:"]).ends()]).collect()
}

/// `Connection` names fields that are for everybody.
fn nominations() -> Vec<Row> {
    let get = |field: &[u8]| Row::get("Connection abuse", shown(field), field);
    let mut rows = vec![
        get(b"Connection: Host^").node_has(&["host: a"]),
        get(b"Connection: X-Forwarded-For^").node_has(&["x-forwarded-for: 127.0.0.1"]),
        get(b"connection: x-forwarded-FOR, HOST^").node_has(&["host: a", "x-forwarded-for: 127.0.0.1"]),
        get(b"Connection: Via^").node_has(&["via: "]),
        get(b"Connection: Cookie^Cookie: a=b^").node_has(&["cookie: a=b"]),
        get(b"Connection: Authorization^Authorization: x^").node_has(&["authorization: x"]),
        get(b"Connection: \xff^").answered(&[200, 400]),
        get(b"Connection: X-Foo, \xff^X-Foo: 1^").answered(&[200, 400]).node_lacks(&["x-foo:"]),
    ];
    let framed: [&[u8]; 4] = [
        b"Connection: Content-Length^Content-Length: 5^^hello",
        b"Connection: close, content-LENGTH^Content-Length: 5^^hello",
        b"Connection: Transfer-Encoding^Transfer-Encoding: chunked^^5^hello^0^^",
        b"Connection: TE, Transfer-Encoding^TE: gzip^Transfer-Encoding: chunked^^5^hello^0^^",
    ];
    rows.extend(
        framed
            .into_iter()
            .map(|rest| Row::post("Connection abuse", shown(rest), rest).answered(&[200, 400]).node_body(b"hello")),
    );
    rows
}

fn old_versions() -> Vec<Row> {
    let class = "HTTP/1.0";
    vec![
        Row::new(class, "chunks", b"POST / HTTP/1.0^Host: a^Transfer-Encoding: chunked^^5^hello^0^^")
            .refused(&[400, 501]),
        Row::new(
            class,
            "no length and keep-alive",
            b"POST / HTTP/1.0^Host: a^Connection: keep-alive^^GET /second HTTP/1.0^Host: a^^",
        )
        .answers(&[&[200], &[200]], 2..=2)
        .node_body(b"")
        .ends(),
        Row::new(class, "no length", b"POST / HTTP/1.0^Host: a^^").node_body(b"").ends(),
        Row::new(class, "no Host", b"GET / HTTP/1.0^^").ends().answered(&[200, 400]),
        Row::new(class, "two Hosts", b"GET / HTTP/1.0^Host: a^Host: b^^").refused(&[400]),
        Row::new(class, "Expect", b"POST / HTTP/1.0^Host: a^Expect: 100-continue^Content-Length: 5^^hello")
            .ends()
            .node_body(b"hello"),
    ]
}

/// A client that wants to switch protocols stays in HTTP until the node has switched.
fn switches() -> Vec<Row> {
    let asked = b"GET / HTTP/1.1^Host: a^Connection: upgrade^Upgrade: foo^^";
    let second = b"POST /second HTTP/1.1^Host: a^Content-Length: zz^^GET /smuggled HTTP/1.1^Host: a^^";
    let served = b"POST /second HTTP/1.1^Host: a^Content-Length: 5^^hello";
    let with_body = b"POST / HTTP/1.1^Host: a^Connection: upgrade^Upgrade: foo^Content-Length: 35^^\
                      GET /smuggled HTTP/1.1^Host: a^^";
    vec![
        Row::new("Upgrade", "refused, then a request that is none", [&asked[..], second].concat())
            .answers(&[&[200], &[400]], 1..=1)
            .most(1)
            .ends(),
        Row::new("Upgrade", "refused, then a request", [&asked[..], served].concat())
            .answers(&[&[200], &[200]], 2..=2)
            .goes_on(),
        Row::new("Upgrade", "with a body that reads like a request", with_body),
        Row::of_steps(
            "Upgrade",
            "h2c with prior knowledge of the answer",
            vec![
                Step::Send(bytes(
                    b"GET / HTTP/1.1^Host: a^Connection: Upgrade, HTTP2-Settings^Upgrade: h2c^HTTP2-Settings: ^^",
                )),
                Step::Send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
            ],
        )
        .answers(&[&[200], &[0, 400, 405, 501, 505]], 1..=1)
        .most(1)
        .node_lacks(&["upgrade:", "http2-settings:"])
        .ends(),
    ]
}
