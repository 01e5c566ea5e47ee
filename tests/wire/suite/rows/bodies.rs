//! Bodies of requests: what comes behind them, that they come late, and that they do not come at all.

use crate::suite::message::shown;
use crate::suite::row::Reply;
use crate::suite::row::Row;
use crate::suite::row::Step;
use crate::suite::row::bytes;

/// Requests with bodies that are out of the ordinary.
pub(crate) fn rows() -> Vec<Row> {
    [trailers(), unexpected(), truncated(), expected()].into_iter().flatten().collect()
}

fn trailers() -> Vec<Row> {
    let class = "trailers";
    let chunked =
        |fields: &[u8], trailers: &[u8]| [fields, b"Transfer-Encoding: chunked^^5^hello^0^", trailers, b"^"].concat();
    let stripped: [(&[u8], &'static [&'static str]); 9] = [
        (b"Content-Length: 9^", &["content-length: 9"]),
        (b"Host: evil^", &["host: evil"]),
        (b"Transfer-Encoding: gzip^", &["transfer-encoding: gzip"]),
        (b"TE: gzip^", &["te: gzip"]),
        (b"Connection: X-Forwarded-For^", &["connection: x-forwarded-for"]),
        (b"X-Forwarded-For: 6.6.6.6^", &["x-forwarded-for: 6.6.6.6"]),
        (b"X_Auth_User: root^", &["x_auth_user:"]),
        (b"X-Auth-User: root^", &["x-auth-user:"]),
        (b"X-Sum: 1^", &["x-sum:"]),
    ];
    let stripped = stripped.into_iter().flat_map(|(trailers, lacks)| {
        let name = trailers.split(|byte| *byte == b':').next().unwrap_or_default();
        let declared = [b"Trailer: ", name, b"^"].concat();
        let plain = Row::post(class, shown(trailers), chunked(b"", trailers));
        let announced = Row::post(class, format!("{} (declared)", shown(trailers)), chunked(&declared, trailers));
        [plain, announced].map(|row| row.node_lacks(lacks).node_body(b"hello"))
    });
    let many = (0..5_000).map(|number| format!("X-{number}: x^")).collect::<String>();
    let refused: [(&str, &[u8]); 6] = [
        ("a folded line", b"X: y^ z^"),
        ("no name", b": y^"),
        ("no colon", b"x^"),
        ("NUL", b"X: \0^"),
        ("5,000 fields", many.as_bytes()),
        ("1 MB", &[b"X: ", &[b'x'; 1 << 20][..], b"^"].concat()),
    ];
    let refused = refused.map(|(name, trailers)| {
        Row::post(class, name, chunked(b"", trailers)).answered(&[400, 413, 431]).ends().too_much()
    });
    stripped.chain(refused).collect()
}

/// Bodies where most requests have none, of which none becomes a request.
fn unexpected() -> Vec<Row> {
    let class = "unexpected bodies";
    let row = |name: &str, method: &str, framed: &str| {
        let rest = format!("{method} / HTTP/1.1^Host: a^{framed}GET /second HTTP/1.1^Host: a^^");
        Row::new(class, format!("{method}, {name}"), rest)
            .answers(&[&[200, 204], &[200]], 2..=2)
            .goes_on()
            .node_never(&["GET /smuggled"])
    };
    let request = "Content-Length: 35^^GET /smuggled HTTP/1.1^Host: a^^";
    let chunk = "Transfer-Encoding: chunked^^23^GET /smuggled HTTP/1.1^Host: a^^^0^^";
    let methods = ["GET", "DELETE", "OPTIONS", "FROB"];
    let rows = methods.iter().flat_map(|method| [row("a length", method, request), row("chunks", method, chunk)]);
    let head = format!("HEAD / HTTP/1.1^Host: a^{request}");
    rows.chain([Row::new(class, "HEAD, a length", head)]).collect()
}

fn truncated() -> Vec<Row> {
    let class = "truncation";
    let row = |name: &str, rest: &[u8]| Row::post(class, name, rest).then(Step::Finish).refused(&[400, 408, 0]).cut();
    let after_length = b"Content-Length: 10^^hello";
    vec![
        row("inside of a length", after_length),
        row("before a body", b"Content-Length: 10^^"),
        row("inside of a chunk", b"Transfer-Encoding: chunked^^5^hello^5^he"),
        row("inside of a size", b"Transfer-Encoding: chunked^^5^hello^1"),
        row("before the last chunk", b"Transfer-Encoding: chunked^^5^hello^"),
        row("inside of the last chunk", b"Transfer-Encoding: chunked^^5^hello^0"),
        row("before the end of the trailers", b"Transfer-Encoding: chunked^^5^hello^0^"),
        row("inside of the trailers", b"Transfer-Encoding: chunked^^5^hello^0^X: y^"),
        row("inside of the head", b"X: y"),
        row("behind the last field", b"X: y^"),
        Row::post(class, "a reset inside of a length", after_length).then(Step::Reset).refused(&[0]).cut(),
        Row::post(class, "a reset inside of a chunk", b"Transfer-Encoding: chunked^^5^hello^5^he")
            .then(Step::Reset)
            .refused(&[0])
            .cut(),
        Row::post(class, "a client that ends behind its body", b"Content-Length: 5^^hello")
            .then(Step::Finish)
            .answered(&[200, 0])
            .node_body(b"hello"),
    ]
}

fn expected() -> Vec<Row> {
    let class = "Expect";
    let asks = "Expect: 100-continue^";
    let head = bytes(format!("POST / HTTP/1.1^Host: a^{asks}Content-Length: 5^^"));
    let steps = |body: &[u8]| vec![Step::Send(head.clone()), Step::Await, Step::Send(bytes(body))];
    let request = b"GET /smuggled HTTP/1.1^Host: a^^";
    let held_back = bytes(format!("POST / HTTP/1.1^Host: a^{asks}Content-Length: 35^^"));
    let refuses = Reply::of("HTTP/1.1 401 Unauthorized^Content-Length: 2^^no").early().once();
    vec![
        Row::of_steps(class, "a body that waits", steps(b"hello")).node_body(b"hello"),
        Row::post(class, "a body that does not wait", format!("{asks}Content-Length: 5^^hello")).node_body(b"hello"),
        Row::of_steps(
            class,
            "a body that waits, in chunks",
            vec![
                Step::Send(bytes(format!("POST / HTTP/1.1^Host: a^{asks}Transfer-Encoding: chunked^^"))),
                Step::Await,
                Step::Send(bytes(b"5^hello^0^^")),
            ],
        )
        .node_body(b"hello"),
        Row::get(class, "without a body", asks),
        Row::post(class, "something else", "Expect: y^Content-Length: 5^^hello").answered(&[200, 417]),
        Row::new(
            class,
            "a folded line",
            format!(
                "OPTIONS / HTTP/1.1^Host: a^{asks} x^Content-Length: 35^^\
                 GET /smuggled HTTP/1.1^Host: a^^"
            ),
        )
        .refused(&[400]),
        Row::of_steps(
            class,
            "refused, then a body that reads like a request",
            vec![Step::Send(held_back.clone()), Step::Await, Step::Send(bytes(request))],
        )
        .replies(refuses.clone())
        .answered(&[401])
        .node_never(&["GET /smuggled"]),
        Row::of_steps(
            class,
            "refused, then another request instead of the body",
            vec![Step::Send(held_back), Step::Await, Step::Send(bytes([&request[..], request].concat()))],
        )
        .replies(refuses)
        .answers(&[&[401], &[0, 200]], 0..=2)
        .may_end(),
    ]
}
