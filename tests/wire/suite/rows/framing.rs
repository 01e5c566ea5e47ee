//! Requests that could be read as another number of requests: RFC 9112 sections 6 and 7.

use crate::suite::message::shown;
use crate::suite::row::Row;

/// Requests whose length is said twice, wrongly or not at all.
pub(crate) fn rows() -> Vec<Row> {
    [both_lengths(), codings(), hidden_codings(), lengths(), chunk_sizes(), chunk_lines()]
        .into_iter()
        .flatten()
        .collect()
}

/// Stands behind most of them. Where the length of what comes before it is in doubt, it is no request.
const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1^Host: a^^";

fn both_lengths() -> Vec<Row> {
    let cases: [(&str, &[u8]); 7] = [
        ("a length, then chunks", b"Content-Length: 40^Transfer-Encoding: chunked^^0^^"),
        ("chunks, then a length", b"Transfer-Encoding: chunked^Content-Length: 40^^0^^"),
        ("chunks, then no number", b"Transfer-Encoding: chunked^Content-Length: zz^^0^^"),
        ("an empty length, then chunks", b"Content-Length: ^Transfer-Encoding: chunked^^0^^"),
        ("a length of 0, then chunks", b"content-length: 0^transfer-encoding: chunked^^0^^"),
        ("two lengths and chunks", b"Content-Length: 5^Content-Length: 40^Transfer-Encoding: chunked^^0^^"),
        (
            "a chunk that holds a request",
            b"Transfer-Encoding: chunked^Content-Length: 4^^23^GET /smuggled HTTP/1.1^Host: a^^^0^^",
        ),
    ];
    let row =
        |(name, rest): (&'static str, &[u8])| Row::post("CL and TE", name, [rest, SMUGGLED].concat()).refused(&[400]);
    let old: &[u8] = b"POST / HTTP/1.0^Host: a^Content-Length: 40^Transfer-Encoding: chunked^^0^^";
    let old = Row::new("CL and TE", "both in HTTP/1.0", [old, SMUGGLED].concat()).refused(&[400]);
    cases.into_iter().map(row).chain([old]).collect()
}

fn codings() -> Vec<Row> {
    let refused: [&[u8]; 19] = [
        b"xchunked",
        b"\"chunked\"",
        b"chunked;x=1",
        b"chu nked",
        b"\x0bchunked",
        b"\xa0chunked",
        b"chunked\x0b",
        b"",
        b"identity",
        b"gzip",
        b"chunked, identity",
        b"chunked, gzip",
        b"gzip, chunked",
        b"chunked, chunked",
        b"chunked,",
        b", chunked",
        b"chunked^Transfer-Encoding: cow",
        b"cow^Transfer-Encoding: chunked",
        b"chunked^Transfer-Encoding: chunked",
    ];
    let refused = refused.into_iter().map(|value| {
        let rest = [b"Transfer-Encoding: ", value, b"^^0^^", SMUGGLED].concat();
        Row::post("TE values", shown(value), rest).refused(&[400, 501])
    });
    let served = [&b"CHUNKED"[..], b"\t chunked \t", b"Chunked"].into_iter().map(|value| {
        let rest = [b"Transfer-Encoding: ", value, b"^^5^hello^0^^"].concat();
        Row::post("TE values", shown(value), rest).node_body(b"hello")
    });
    refused.chain(served).collect()
}

fn hidden_codings() -> Vec<Row> {
    let row = |field: &[u8]| Row::post("TE hidden", shown(field), [field, b"^^0^^", SMUGGLED].concat()).refused(&[400]);
    vec![
        row(b"Transfer-Encoding : chunked"),
        row(b"Transfer-Encoding\t: chunked"),
        // RFC 9112 section 5.2 lets a recipient take a blank for it.
        row(b"Transfer-Encoding:^ chunked").most(2),
        row(b"X: X\rTransfer-Encoding: chunked"),
        row(b" Transfer-Encoding: chunked"),
        row(b"Transfer-Encoding^ : chunked"),
        // RFC 9112 section 2.2 lets a recipient take LF for the end of a line.
        row(b"X: X\nTransfer-Encoding: chunked").most(2),
    ]
}

fn lengths() -> Vec<Row> {
    let refused: [&[u8]; 17] = [
        b"+5",
        b"-5",
        b"0x5",
        b"5 5",
        b"5;x",
        b"5.0",
        b"5_0",
        b"",
        b"5,",
        b",5",
        b"5, 6",
        b"18446744073709551621",
        b"\xc2\xb2",
        b"5^Content-Length: 6",
        b"6^Content-Length: 5",
        b"^Content-Length: 5",
        b"5^Content-Length: ",
    ];
    let refused = refused.into_iter().map(|value| {
        let rest = [b"Content-Length: ", value, b"^^hello", SMUGGLED].concat();
        Row::post("CL values", shown(value), rest).refused(&[400])
    });
    let served = [&b" 5\t"[..], b"5"].into_iter().map(|value| {
        let rest = [b"Content-Length: ", value, b"^^hello"].concat();
        Row::post("CL values", shown(value), rest).node_body(b"hello")
    });
    // Nobody can take these for anything else, once they are written plainly.
    let either = [&b"05"[..], b"5, 5", b"5^Content-Length: 5"].into_iter().map(|value| {
        let rest = [b"Content-Length: ", value, b"^^hello"].concat();
        Row::post("CL values", shown(value), rest).answered(&[200, 400]).node_body(b"hello")
    });
    refused.chain(served).chain(either).collect()
}

fn chunk_sizes() -> Vec<Row> {
    let row = |size: &[u8]| {
        let rest = [b"Transfer-Encoding: chunked^^", size, b"^hello^0^^", SMUGGLED].concat();
        Row::post("chunk sizes", shown(size), rest).refused(&[400])
    };
    let refused: [&[u8]; 12] = [
        b"0x5",
        b"+5",
        b"-5",
        b" 5",
        b"0_5",
        b"",
        b"g",
        b"5g",
        b"10000000000000005",
        b"fffffffffffffffff",
        b"5\x00",
        b"\xef\xbc\x95",
    ];
    // All who take these agree on what they mean.
    let unusual: [&[u8]; 3] = [b"0000000000000000000005", b"5 ", b"5\t"];
    let unusual = unusual.map(|size| row(size).most(2));
    let zero: &[u8] = b"Transfer-Encoding: chunked^^5^hello^000^^";
    let either = Row::post("chunk sizes", "a last chunk of 000", zero).answered(&[200, 400]).node_body(b"hello");
    refused.into_iter().map(row).chain(unusual).chain([either]).collect()
}

fn chunk_lines() -> Vec<Row> {
    let row = |name: &str, chunks: &[u8]| {
        let rest = [b"Transfer-Encoding: chunked^^", chunks, SMUGGLED].concat();
        Row::post("chunk lines", name, rest).refused(&[400])
    };
    let refused: [(&str, &[u8]); 12] = [
        ("a chunk longer than its size", b"5^helloX^0^^"),
        ("a chunk longer than its size, by a last one", b"5^helloAB0^^"),
        ("a chunk shorter than its size", b"6^hello^0^^"),
        ("a chunk ended by LF", b"5^hello\n0^^"),
        ("a chunk ended by CR", b"5^hello\r0^^"),
        ("a chunk ended by CR CR LF", b"5^hello\r\r\n0^^"),
        ("a size ended by LF", b"5\nhello^0^^"),
        ("a size ended by CR", b"5\rhello^0^^"),
        ("an extension ended by LF", b"5;\nhello^0^^"),
        ("an extension with LF", b"5;a\nb^hello^0^^"),
        ("an extension with CR", b"5;a\rb^hello^0^^"),
        ("a last chunk ended by LF", b"5^hello^0\n^"),
    ];
    let large = [b"5;", &[b'x'; 70_000][..], b"^hello^0^^"].concat();
    let large = row("an extension of 70 kB", &large).most(2).too_much();
    // All who take these agree on where the body ends.
    let unusual: [(&str, &[u8]); 4] = [
        ("a body ended by LF", b"5^hello^0^\n"),
        ("an extension with NUL", b"5;a\0b^hello^0^^"),
        ("an extension of 2 kB", &[b"5;", &[b'x'; 2_000][..], b"^hello^0^^"].concat()),
        ("200 extensions of 50 bytes", &[extended_chunks().as_bytes(), b"0^^"].concat()),
    ];
    let unusual = unusual.map(|(name, chunks)| row(name, chunks).most(2));
    let plain: &[u8] = b"Transfer-Encoding: chunked^^2;a=b^he^3;c=\"d\"^llo^0;e^^";
    let plain = Row::post("chunk lines", "plain extensions", plain).node_body(b"hello");
    refused.map(|(name, chunks)| row(name, chunks)).into_iter().chain(unusual).chain([large, plain]).collect()
}

fn extended_chunks() -> String {
    format!("1;{}^x^", "e".repeat(49)).repeat(200)
}
