//! Requests in HTTP/2 that HTTP/1.1 has no words for, or too many: RFC 9113 section 8.

use crate::frames;
use crate::frames::END_HEADERS;
use crate::frames::END_STREAM;
use crate::frames::block;
use crate::frames::frame;
use crate::frames::headers;
use crate::frames::request;
use crate::suite::message::shown;
use crate::suite::row::Row;
use crate::suite::row::Step;

/// Requests that are malformed, odd or too many.
pub(crate) fn rows() -> Vec<Row> {
    [lengths(), connection_fields(), bytes_in_fields(), pseudo_fields(), authorities(), trailers(), floods()]
        .into_iter()
        .flatten()
        .collect()
}

/// The same node, seen by a client of HTTP/2: of the rows that one plain request is enough for.
pub(crate) fn of_responses(rows: Vec<Row>) -> Vec<Row> {
    let is_plain = |row: &Row| matches!(&row.steps[..], [Step::Send(sent)] if sent.len() < 40);
    let again = |row: Row| {
        let method: &[u8] = if row.is_head() { b"HEAD" } else { b"GET" };
        let name = format!("{}: {}", row.class, row.name);
        Row { name, class: "HTTP/2 responses", steps: vec![Step::Send(request(1, method, b"/"))], ..row }
    };
    rows.into_iter().filter(is_plain).map(|row| again(row).http2().may_end()).collect()
}

type Fields<'a> = &'a [(&'a [u8], &'a [u8])];

/// What a malformed request may be answered: the end of its stream or connection, or 400.
const MALFORMED: &[u16] = &[0, 400];

const PLAIN: [(&[u8], &[u8]); 4] =
    [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")];

fn row(class: &'static str, name: impl Into<String>, sent: Vec<u8>) -> Row {
    Row::of_steps(class, name, vec![Step::Send(sent)]).http2()
}

/// A request that is malformed, and must not reach the node whole.
fn malformed(class: &'static str, name: impl Into<String>, sent: Vec<u8>) -> Row {
    row(class, name, sent).refused(MALFORMED).may_end()
}

/// The head of a plain POST with these further fields, behind which more is to come.
fn open(fields: Fields<'_>) -> Vec<u8> {
    headers(1, END_HEADERS, &[&PLAIN[..], fields].concat())
}

/// The whole of a plain POST without a body.
fn whole(fields: Fields<'_>) -> Vec<u8> {
    headers(1, END_HEADERS | END_STREAM, &[&PLAIN[..], fields].concat())
}

fn lengths() -> Vec<Row> {
    let class = "HTTP/2 lengths";
    let of = |length: &'static [u8]| open(&[(b"content-length", length)]);
    let two =
        |first: &'static [u8], second: &'static [u8]| open(&[(b"content-length", first), (b"content-length", second)]);
    let last = |bytes: &[u8]| data(1, END_STREAM, bytes);
    let cut = |name: &str, sent: Vec<Vec<u8>>| malformed(class, name, sent.concat()).cut();
    let trailers = headers(1, END_HEADERS | END_STREAM, &[(b"x-sum", b"1")]);
    let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    vec![
        cut("10, and no body", vec![whole(&[(b"content-length", b"10")])]),
        cut("10, and 5 bytes", vec![of(b"10"), last(b"hello")]),
        cut("10, and 5 bytes and trailers", vec![of(b"10"), data(1, 0, b"hello"), trailers]),
        cut("3, and 5 bytes", vec![of(b"3"), last(b"hello")]),
        // It is on its way before anybody can know that it is malformed.
        malformed(class, "0, and a body that reads like a request", [of(b"0"), last(smuggled)].concat())
            .answered(&[0, 200, 400])
            .node_body(b""),
        cut("10, and 5 bytes, given up", vec![of(b"10"), data(1, 0, b"hello"), cancel(1)]).answers(&[], 0..=0).most(1),
        row(class, "10, and 5 bytes, and the end", [of(b"10"), data(1, 0, b"hello")].concat())
            .then(Step::Finish)
            .refused(&[0, 400, 408])
            .may_end()
            .cut(),
        malformed(class, "two that differ", [two(b"5", b"6"), last(b"hello")].concat()),
        malformed(class, "a sign", [of(b"+5"), last(b"hello")].concat()),
        malformed(class, "no number", [of(b"zz"), last(b"hello")].concat()),
        malformed(class, "empty", [of(b""), last(b"hello")].concat()),
        malformed(class, "a list", [of(b"5, 6"), last(b"hello")].concat()),
        row(class, "two that are equal", [two(b"5", b"5"), last(b"hello")].concat())
            .answered(&[0, 400, 200])
            .node_body(b"hello"),
        row(class, "none, and 5 bytes", [open(&[]), last(b"hello")].concat()).node_body(b"hello").may_end(),
        row(class, "none, and a body that reads like a request", [open(&[]), last(smuggled)].concat())
            .node_body(smuggled)
            .may_end(),
        row(class, "5, and 5 bytes", [of(b"5"), last(b"hello")].concat()).node_body(b"hello").may_end(),
        row(class, "0, and no body", whole(&[(b"content-length", b"0")])).node_body(b"").may_end(),
    ]
}

/// What belongs to a connection has no place in HTTP/2: RFC 9113 section 8.2.2.
fn connection_fields() -> Vec<Row> {
    let class = "HTTP/2 connection fields";
    let fields: [(&[u8], &[u8]); 9] = [
        (b"te", b"gzip"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"connection", b"x-forwarded-for"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-connection", b"close"),
        (b"upgrade", b"h2c"),
        (b"upgrade", b"websocket"),
        (b"connection", b"upgrade"),
    ];
    let refused = fields
        .into_iter()
        .map(|field| malformed(class, format!("{}: {}", shown(field.0), shown(field.1)), whole(&[field])));
    let served = row(class, "te: trailers", whole(&[(b"te", b"trailers")])).may_end();
    refused.chain([served]).collect()
}

fn bytes_in_fields() -> Vec<Row> {
    let class = "HTTP/2 fields";
    let fields: [(&[u8], &[u8]); 19] = [
        (b"x", b"y\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        (b"x", b"y\r\nz: 1"),
        (b"x", b"y\nz: 1"),
        (b"x", b"y\rz: 1"),
        (b"x", b"y\0z"),
        (b"x", b" y"),
        (b"x", b"y "),
        (b"x", b"\ty"),
        (b"x\r\nz", b"1"),
        (b"x\nz", b"1"),
        (b"x\0", b"1"),
        (b"X", b"1"),
        (b"x-Forwarded-for", b"1"),
        (b"", b"1"),
        (b"x:y", b"1"),
        (b"x: 1\r\nz", b"1"),
        (b"x y", b"1"),
        (b"x ", b"1"),
        (b"x\xe9", b"1"),
    ];
    let refused = fields.into_iter().map(|field| {
        malformed(class, format!("{:?}: {:?}", shown(field.0), shown(field.1)), whole(&[field]))
            .node_lacks(&["x:", "z:"])
    });
    let served = [
        row(class, "cookies in crumbs", whole(&[(b"cookie", b"a=b"), (b"x", b"y"), (b"cookie", b"c=d")]))
            .node_has(&["cookie: a=b; c=d"]),
        row(class, "x_forwarded_for", whole(&[(b"x_forwarded_for", b"6.6.6.6")])).node_lacks(&["x_forwarded_for:"]),
        row(class, "x-forwarded-for", whole(&[(b"x-forwarded-for", b"6.6.6.6")])),
        row(class, "bytes beyond ASCII", whole(&[(b"x", b"\xff")])).node_has(&["x: \u{ff}"]),
    ];
    refused.chain(served.map(Row::may_end)).collect()
}

fn pseudo_fields() -> Vec<Row> {
    let class = "HTTP/2 pseudo fields";
    let with = |fields: Fields<'_>| headers(1, END_HEADERS | END_STREAM, fields);
    let without = |name: &[u8]| -> Vec<u8> {
        let kept: Vec<_> = PLAIN.iter().filter(|field| field.0 != name).copied().collect();
        with(&kept)
    };
    let instead = |name: &'static [u8], value: &'static [u8]| -> Vec<u8> {
        let fields = PLAIN.map(|field| if field.0 == name { (name, value) } else { field });
        with(&fields)
    };
    let mut rows: Vec<Row> = [&b":method"[..], b":scheme", b":path"]
        .into_iter()
        .map(|name| malformed(class, format!("no {}", shown(name)), without(name)))
        .collect();
    rows.extend(PLAIN.into_iter().map(|field| malformed(class, format!("two {}", shown(field.0)), whole(&[field]))));
    let more: [(&[u8], &[u8]); 3] = [(b":foo", b"x"), (b":status", b"200"), (b":protocol", b"websocket")];
    rows.extend(more.map(|field| malformed(class, shown(field.0), whole(&[field]))));
    rows.push(malformed(class, "a late :path", with(&[PLAIN[0], PLAIN[1], PLAIN[3], (b"x", b"y"), PLAIN[2]])));
    let values: [(&[u8], &[u8]); 19] = [
        (b":path", b""),
        (b":path", b"admin"),
        (b":path", b"*"),
        (b":path", b"http://b/"),
        (b":path", b"/ HTTP/1.1\r\nHost: b"),
        (b":path", b"/a b"),
        (b":path", b"/a\nb"),
        (b":path", b"/a\0b"),
        (b":path", b"/\xff"),
        (b":method", b""),
        (b":method", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET"),
        (b":method", b"G T"),
        (b":method", b"GET\n"),
        (b":method", b"GET\0"),
        (b":scheme", b""),
        (b":scheme", b"foo"),
        (b":scheme", b"ht tp"),
        (b":scheme", b"http://evil/?"),
        (b":scheme", b"javascript"),
    ];
    rows.extend(
        values
            .into_iter()
            .map(|(name, value)| malformed(class, format!("{} {:?}", shown(name), shown(value)), instead(name, value))),
    );
    rows.push(malformed(class, ":path \"/#x\"", instead(b":path", b"/#x")));
    rows.push(row(class, ":scheme \"https\"", instead(b":scheme", b"https")).may_end());
    rows
}

fn authorities() -> Vec<Row> {
    let class = "HTTP/2 authority";
    let of = |authority: &'static [u8], hosts: &[&'static [u8]]| {
        let hosts = hosts.iter().map(|host| (&b"host"[..], *host));
        let fields: Vec<_> = PLAIN[..3].iter().copied().chain([(&b":authority"[..], authority)]).chain(hosts).collect();
        headers(1, END_HEADERS | END_STREAM, &fields)
    };
    let only = |hosts: &[&'static [u8]]| {
        let hosts = hosts.iter().map(|host| (&b"host"[..], *host));
        headers(1, END_HEADERS | END_STREAM, &PLAIN[..3].iter().copied().chain(hosts).collect::<Vec<_>>())
    };
    let mut rows = vec![
        malformed(class, "a beside host b", of(b"a", &[b"b"])).node_never(&["host: b"]),
        malformed(class, "a beside two hosts", of(b"a", &[b"a", b"a"])),
        malformed(class, "two hosts", only(&[b"a", b"b"])),
        malformed(class, "neither", only(&[])),
        row(class, "a beside host a", of(b"a", &[b"a"])).node_has(&["host: a"]).may_end(),
        row(class, "only a host", only(&[b"a"])).node_has(&["host: a"]).may_end(),
        row(class, "a:80", of(b"a:80", &[])).node_has(&["host: a:80"]).may_end(),
    ];
    let refused: [&[u8]; 11] =
        [b"", b"u@a", b"a b", b"a/b", b"a?b", b"a#b", b"a:x", b"a,b", b"[::1", b"a\r\nx: y", b"a\0"];
    rows.extend(refused.map(|authority| malformed(class, format!("{:?}", shown(authority)), of(authority, &[]))));
    let connect: [(&[u8], &[u8]); 2] = [(b":method", b"CONNECT"), (b":authority", b"a:80")];
    let refused: &[u16] = &[0, 400, 405, 501];
    rows.push(row(class, "CONNECT", headers(1, END_HEADERS, &connect)).refused(refused).may_end());
    let websocket = [&connect[..], &PLAIN[1..3], &[(b":protocol", b"websocket")]].concat();
    rows.push(row(class, "CONNECT to a WebSocket", headers(1, END_HEADERS, &websocket)).refused(refused).may_end());
    rows
}

fn trailers() -> Vec<Row> {
    let class = "HTTP/2 trailers";
    let with = |field: (&'static [u8], &'static [u8])| {
        [open(&[]), data(1, 0, b"hello"), headers(1, END_HEADERS | END_STREAM, &[field])].concat()
    };
    let malformed_ones: [(&[u8], &[u8]); 5] = [
        (b"X", b"y"),
        (b"x", b"y\r\nz: 1"),
        (b"connection", b"x-forwarded-for"),
        (b"transfer-encoding", b"chunked"),
        (b"x y", b"z"),
    ];
    let refused = malformed_ones.map(|field| malformed(class, format!("{:?}", shown(field.0)), with(field)));
    let pseudo = malformed(class, ":path", with((b":path", b"/smuggled")));
    let stripped: [(&[u8], &[u8]); 4] =
        [(b"content-length", b"9"), (b"host", b"evil"), (b"x-forwarded-for", b"6.6.6.6"), (b"x-sum", b"1")];
    let stripped = stripped.map(|field| {
        row(class, shown(field.0), with(field)).answered(&[0, 200, 400]).node_body(b"hello").node_lacks(&[
            "content-length: 9",
            "host: evil",
            "x-forwarded-for: 6.6.6.6",
            "x-sum:",
        ])
    });
    let unfinished = [open(&[]), data(1, 0, b"hello"), headers(1, END_HEADERS, &[(b"x-sum", b"1")])].concat();
    let unfinished = malformed(class, "that end nothing", unfinished);
    refused.into_iter().chain([pseudo, unfinished]).chain(stripped).collect()
}

fn floods() -> Vec<Row> {
    let class = "HTTP/2 floods";
    let endless: Vec<u8> = (0..128).flat_map(|_| continuation(1, 0, &[0; 16_000])).collect();
    let large = block(&[(b"x", &[b'y'; 16_000])]);
    let many: Vec<u8> = (0..40).flat_map(|_| continuation(1, 0, &large)).collect();
    let crumbs = |count| whole(&vec![(&b"cookie"[..], &b"a=b"[..]); count]);
    let resets: Vec<u8> =
        (0..300).flat_map(|number| [request(2 * number + 1, b"GET", b"/"), cancel(2 * number + 1)].concat()).collect();
    let begun = headers(1, END_STREAM, &PLAIN);
    vec![
        row(class, "2 MB of CONTINUATION", [&begun[..], &endless].concat()).refused(&[0, 431]).may_end(),
        row(class, "a head of 600 kB", [&begun[..], &many, &continuation(1, END_HEADERS, &[])].concat())
            .refused(&[0, 431])
            .may_end(),
        row(class, "500 crumbs of a cookie", crumbs(500)).refused(&[0, 431]).may_end(),
        row(class, "50 crumbs of a cookie", crumbs(50)).may_end(),
        row(class, "300 requests that are given up", resets).answers(&[], 0..=300).most(201),
    ]
}

fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(frames::DATA, flags, stream, bytes)
}

/// More of a head.
fn continuation(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(frames::CONTINUATION, flags, stream, block)
}

/// Gives a stream up, as one that is no longer wanted.
fn cancel(stream: u32) -> Vec<u8> {
    frame(frames::RST_STREAM, 0, stream, &[0, 0, 0, 8])
}
