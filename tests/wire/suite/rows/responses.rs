//! Responses of a node that is hostile, broken or gone: RFC 9112 sections 4, 6 and 8, from the other side.

use crate::suite::message::shown;
use crate::suite::row::Reply;
use crate::suite::row::Row;
use crate::suite::row::Step;
use crate::suite::row::Then;
use crate::suite::row::bytes;

/// Nodes that answer in ways that no client should have to bear.
pub(crate) fn rows() -> Vec<Row> {
    [framings(), status_lines(), heads(), interim(), fields(), chunks(), bodies(), cuts(), stale(), early()]
        .into_iter()
        .flatten()
        .collect()
}

/// A GET that is answered with these bytes, however often it comes.
fn row(class: &'static str, name: impl Into<String>, answer: impl AsRef<[u8]>) -> Row {
    Row::get(class, name, "").replies(Reply::of(answer).always()).most(1)
}

fn framings() -> Vec<Row> {
    let class = "response lengths";
    let of =
        |fields: &[u8], body: &[u8]| row(class, shown(fields), [b"HTTP/1.1 200 OK^", fields, b"^^", body].concat());
    let chunks = b"5^hello^0^^";
    let refused: [&[u8]; 9] = [
        b"Content-Length: 5^Content-Length: 6",
        b"Content-Length: 6^Content-Length: 5",
        b"Content-Length: 5, 6",
        b"Content-Length: +5",
        b"Content-Length: zz",
        b"Content-Length: ",
        b"Content-Length: -1",
        b"Content-Length: 18446744073709551621",
        b"Content-Length: 0x5",
    ];
    let refused = refused.into_iter().map(|fields| of(fields, b"hello").answered(&[502]).client_body(b"hello"));
    let both: [&[u8]; 3] = [
        b"Content-Length: 4^Transfer-Encoding: chunked",
        b"Transfer-Encoding: chunked^Content-Length: 4",
        b"Transfer-Encoding: chunked^Content-Length: 9",
    ];
    let both = both.into_iter().map(|fields| of(fields, chunks).answered(&[200, 502]).client_body(b"hello"));
    let joined: [&[u8]; 3] = [b"Content-Length: 5^Content-Length: 5", b"Content-Length: 5, 5", b"Content-Length: 05"];
    let joined = joined.into_iter().map(|fields| of(fields, b"hello").answered(&[200, 502]).client_body(b"hello"));
    let codings: [&[u8]; 6] = [
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked^Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
    ];
    let codings = codings.into_iter().map(|fields| of(fields, chunks).answered(&[502]));
    refused.chain(both).chain(joined).chain(codings).collect()
}

fn status_lines() -> Vec<Row> {
    let lines: [&[u8]; 15] = [
        b"HTTP/1.1 2x OK",
        b"HTTP/1.1 99 Low",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 -200 OK",
        b"HTTP/1.1200 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.10 200 OK",
        b"ICY 200 OK",
        b"200 OK",
        b"hello",
        b"",
        b"HTTP/1.1 200 a\0b",
        b"HTTP/1.1 200 a\rSet-Cookie: b",
    ];
    let refused = lines.into_iter().map(|line| {
        row("status lines", shown(line), [line, b"^Content-Length: 5^^hello"].concat())
            .answered(&[502])
            .client_never(&["set-cookie:"])
    });
    let bare = row("status lines", "no reason", b"HTTP/1.1 200 ^Content-Length: 5^^hello").client_body(b"hello");
    refused.chain([bare]).collect()
}

fn heads() -> Vec<Row> {
    let class = "response heads";
    let of = |field: &[u8]| {
        row(class, shown(field), [b"HTTP/1.1 200 OK^", field, b"^Content-Length: 5^^hello"].concat())
            .client_never(&["set-cookie:"])
            .client_body(b"hello")
    };
    let refused: [&[u8]; 8] =
        [b"X: y\0", b"X: y\rSet-Cookie: b", b"X: y\x01", b": y", b"no colon", b"X(y): z", b"X y: z", b"X\xe9: z"];
    let refused = refused.into_iter().map(|field| of(field).answered(&[502]));
    // RFC 9112 sections 5.1 and 5.2 leave a proxy the choice.
    let mended = [&b"X : y"[..], b"X: y^ z"].into_iter().map(|field| of(field).answered(&[200, 502]));
    let lines = row(class, "only LF", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello").answered(&[200, 502]);
    let many = (0..5_000).map(|number| format!("X-{number}: x^")).collect::<String>();
    let large = [("1 MB", format!("X: {}^", "x".repeat(1 << 20))), ("5,000 fields", many)];
    let large = large.map(|(name, fields)| {
        row(class, name, format!("HTTP/1.1 200 OK^{fields}Content-Length: 5^^hello")).answered(&[502])
    });
    refused.chain(mended).chain([lines]).chain(large).collect()
}

fn interim() -> Vec<Row> {
    let class = "interim responses";
    let ok = "HTTP/1.1 200 OK^Content-Length: 5^^hello";
    let hints = "HTTP/1.1 103 Early Hints^Link: </x>^^";
    vec![
        row(class, "50 hints", format!("{}{ok}", hints.repeat(50))).client_body(b"hello"),
        row(class, "100 that nobody asked for", format!("HTTP/1.1 100 Continue^^{ok}")).client_body(b"hello"),
        row(class, "101 that nobody asked for", format!("HTTP/1.1 101 Switching Protocols^^{ok}")).answered(&[502]),
        row(
            class,
            "101 with a protocol that nobody asked for",
            format!("HTTP/1.1 101 Switching Protocols^Connection: upgrade^Upgrade: foo^^{ok}"),
        )
        .answered(&[502]),
        Row::get(class, "101 to another protocol", "Connection: upgrade^Upgrade: foo^")
            .replies(Reply::of("HTTP/1.1 101 Switching Protocols^Connection: upgrade^Upgrade: bar^^").always())
            .answered(&[502]),
        row(class, "a hint with a length", format!("HTTP/1.1 103 Early Hints^Content-Length: 5^^{ok}"))
            .answered(&[200, 502])
            .client_body(b"hello"),
    ]
}

fn fields() -> Vec<Row> {
    let class = "response hop by hop";
    let of = |fields: &str, lacks| {
        row(class, fields, format!("HTTP/1.1 200 OK^{fields}Content-Length: 5^^hello"))
            .client_lacks(lacks)
            .client_body(b"hello")
    };
    vec![
        of("Connection: X-Foo^X-Foo: 1^", &["x-foo:"]),
        of("Connection: close, x-FOO^X-Foo: 1^", &["x-foo:"]),
        of("Keep-Alive: timeout=5^", &["keep-alive: timeout=5"]),
        of("Proxy-Connection: close^", &["proxy-connection:"]),
        of("Upgrade: h2c^", &["upgrade: h2c"]),
        of("Connection: Content-Length^", &[]),
        row(
            class,
            "Connection: Transfer-Encoding",
            "HTTP/1.1 200 OK^Connection: Transfer-Encoding^\
            Transfer-Encoding: chunked^^5^hello^0^^",
        )
        .client_body(b"hello"),
    ]
}

/// The head is on its way when these are found: the response must not look whole.
fn chunks() -> Vec<Row> {
    let class = "response chunks";
    let broken: [(&str, &[u8]); 11] = [
        ("a size that is none", b"5^hello^zz^"),
        ("a sign", b"+5^hello^0^^"),
        ("a prefix", b"0x5^hello^0^^"),
        ("a size that is too large", b"10000000000000005^hello^0^^"),
        ("a chunk longer than its size", b"5^helloX^0^^"),
        ("a chunk ended by LF", b"5^hello\n0^^"),
        ("a size ended by LF", b"5\nhello^0^^"),
        ("an extension with CR", b"5;a\rb^hello^0^^"),
        ("a last chunk ended by LF", b"5^hello^0\n^"),
        ("trailers without a colon", b"5^hello^0^x^^"),
        ("a folded trailer", b"5^hello^0^X: y^ z^^"),
    ];
    let broken = broken.into_iter().map(|(name, body)| {
        let reply = Reply::of([b"HTTP/1.1 200 OK^Transfer-Encoding: chunked^^", body].concat()).then(Then::Close);
        Row::get(class, name, "").replies(reply.always()).answered(&[200, 502, 0]).ends().cut()
    });
    let trailers = "5^hello^0^Content-Length: 9^Set-Cookie: x^X-Forwarded-For: 6.6.6.6^^";
    let trailers = row(class, "trailers", format!("HTTP/1.1 200 OK^Transfer-Encoding: chunked^^{trailers}"));
    let lacks = &["set-cookie:", "x-forwarded-for:", "content-length: 9"];
    let extended = row(class, "extensions", "HTTP/1.1 200 OK^Transfer-Encoding: chunked^^5;a=b^hello^0^^");
    broken.chain([trailers.client_lacks(lacks).client_body(b"hello"), extended.client_body(b"hello")]).collect()
}

/// Bytes behind a response are no other one, and reach nobody.
fn bodies() -> Vec<Row> {
    let class = "response bodies";
    let poison = "HTTP/1.1 200 OK^Content-Length: 6^^poison";
    let head = Row::new(class, "HEAD with a body", "HEAD / HTTP/1.1^Host: a^^");
    let long_head = Row::new(class, "HEAD with a response as its body", "HEAD / HTTP/1.1^Host: a^^");
    let late =
        |name: &str, answer: &str| Row::get(class, name, "").replies(Reply::of(answer).late(poison.as_bytes()).once());
    vec![
        head.replies(Reply::of("HTTP/1.1 200 OK^Content-Length: 5^^hello").always()),
        long_head.replies(Reply::of(format!("HTTP/1.1 200 OK^Content-Length: 41^^{poison}")).always()),
        row(class, "204 with a body", "HTTP/1.1 204 No Content^^hello").answered(&[204, 502]),
        row(class, "204 with a length and a body", "HTTP/1.1 204 No Content^Content-Length: 5^^hello")
            .answered(&[204, 502])
            .client_lacks(&["content-length:"]),
        row(class, "204 with chunks", "HTTP/1.1 204 No Content^Transfer-Encoding: chunked^^5^hello^0^^")
            .answered(&[204, 502])
            .client_lacks(&["transfer-encoding:"]),
        row(class, "304 with a body", "HTTP/1.1 304 Not Modified^Content-Length: 5^^hello").answered(&[304, 502]),
        row(class, "304 with a response", format!("HTTP/1.1 304 Not Modified^^{poison}")).answered(&[304, 502]),
        row(class, "a second response", format!("HTTP/1.1 200 OK^Content-Length: 2^^ok{poison}")).client_body(b"ok"),
        row(
            class,
            "a second response behind chunks",
            format!("HTTP/1.1 200 OK^Transfer-Encoding: chunked^^2^ok^0^^{poison}"),
        )
        .client_body(b"ok"),
        row(class, "bytes behind a response", "HTTP/1.1 200 OK^Content-Length: 2^^ok^^").client_body(b"ok"),
        late("a second response, late", "HTTP/1.1 200 OK^Content-Length: 2^^ok").client_body(b"ok"),
        late("a second response behind 204, late", "HTTP/1.1 204 No Content^^").answered(&[204]),
        late("a second response behind chunks, late", "HTTP/1.1 200 OK^Transfer-Encoding: chunked^^2^ok^0^^")
            .client_body(b"ok"),
    ]
}

fn cuts() -> Vec<Row> {
    let class = "response cuts";
    let cut = |name: &str, answer: &str, then: Then| {
        let name = format!("{name}, {then:?}").to_lowercase();
        Row::get(class, name, "").replies(Reply::of(answer).then(then).always())
    };
    let mut rows = Vec::new();
    for then in [Then::Close, Then::Reset] {
        for (name, answer) in [
            ("before the first byte", ""),
            ("inside of the status line", "HTTP/1.1 20"),
            ("inside of the head", "HTTP/1.1 200 OK^Content-Length: 5^X: y"),
        ] {
            rows.push(cut(name, answer, then).answered(&[502]));
        }
        for (name, answer) in [
            ("inside of a length", "HTTP/1.1 200 OK^Content-Length: 10^^hello"),
            ("before a body", "HTTP/1.1 200 OK^Content-Length: 10^^"),
            ("inside of a chunk", "HTTP/1.1 200 OK^Transfer-Encoding: chunked^^5^hello^5^he"),
            ("before the last chunk", "HTTP/1.1 200 OK^Transfer-Encoding: chunked^^5^hello^"),
            ("inside of the last chunk", "HTTP/1.1 200 OK^Transfer-Encoding: chunked^^5^hello^0"),
            ("inside of the trailers", "HTTP/1.1 200 OK^Transfer-Encoding: chunked^^5^hello^0^X: y^"),
        ] {
            rows.push(cut(name, answer, then).answered(&[200, 502, 0]).ends().cut());
        }
    }
    rows.push(cut("until the end", "HTTP/1.1 200 OK^^hello", Then::Close).may_end().client_body(b"hello"));
    rows.push(cut("until the end", "HTTP/1.1 200 OK^^hello", Then::Reset).answered(&[200, 502, 0]).ends().cut());
    rows.push(cut("until the end, HTTP/1.0", "HTTP/1.0 200 OK^^hello", Then::Close).may_end().client_body(b"hello"));
    rows
}

/// A kept connection that is lost under the next request.
fn stale() -> Vec<Row> {
    let gone = |then| [Reply::of("HTTP/1.1 200 OK^Content-Length: 2^^ok"), Reply::of("").then(then)];
    let row = |name: &str, second: &str, then: Then| {
        let name = format!("{name}, {then:?}").to_lowercase();
        let steps = vec![Step::Send(bytes("GET /first HTTP/1.1^Host: a^^")), Step::Await, Step::Send(bytes(second))];
        let mut row = Row::of_steps("stale reuse", name, steps);
        row.replies.first = gone(then).to_vec();
        row
    };
    let get = "GET / HTTP/1.1^Host: a^^";
    let post = "POST / HTTP/1.1^Host: a^Content-Length: 5^^hello";
    [Then::Close, Then::Reset]
        .into_iter()
        .flat_map(|then| {
            [
                row("a GET", get, then).answers(&[&[200], &[200]], 2..=2),
                row("a POST", post, then).answers(&[&[200], &[502]], 2..=2),
            ]
        })
        .collect()
}

/// Answers that come before the request is whole.
fn early() -> Vec<Row> {
    let class = "early responses";
    let ok = || Reply::of("HTTP/1.1 200 OK^Content-Length: 2^^ok").early();
    let large = [&bytes("POST / HTTP/1.1^Host: a^Content-Length: 3000000^^")[..], &[b'x'; 3_000_000]].concat();
    let begun = "POST / HTTP/1.1^Host: a^Content-Length: 10^^hello";
    let upload = |name: &str, sent: Vec<u8>, reply: Reply| {
        Row::of_steps(class, name, vec![Step::Send(sent)]).replies(reply.once()).answered(&[200]).client_body(b"ok")
    };
    let halves = vec![Step::Send(bytes(begun)), Step::Await, Step::Send(b"world".to_vec())];
    vec![
        upload("a node that reads on", large.clone(), ok()),
        upload("a node that reads no more", large.clone(), ok().then(Then::Stop)),
        upload("a node that ends its side", large.clone(), ok().then(Then::Finish)),
        // The system makes a reset of it, because something is unread.
        upload("a node that closes", large.clone(), ok().then(Then::Close)).answered(&[200, 502]),
        upload("a node that resets", large, ok().then(Then::Reset)).answered(&[200, 502]),
        Row::of_steps(class, "a body that ends behind the answer", halves)
            .replies(ok().once())
            .answered(&[200])
            .client_body(b"ok"),
    ]
}
