//! Reads the bytes of HTTP/1 requests before hyper does, and spoils what hyper would let through although another
//! parser might read it differently: RFC 9112.
//!
//! It answers nothing itself. Where it finds a fault it writes a byte there that no parser accepts, so that hyper
//! refuses the request with 400 and ends the connection. Should it ever lose count of where a request begins, it would
//! thus refuse too much, and never let more through.

/// Follows one connection from its first byte.
#[derive(Debug)]
pub(crate) struct Inspector {
    state: State,
    /// What has come of the line that is not complete yet; hyper bounds it by the size of a head.
    line_so_far: Vec<u8>,
    head: Head,
    /// Heads that were complete so far.
    heads: u64,
    /// Bytes of chunk extensions in the body of the moment.
    extension_bytes: usize,
    extension_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the request line, or the empty lines before it, which RFC 9112 section 2.2 permits.
    RequestLine,
    Fields,
    /// In a body of which so many bytes are missing.
    Body(u64),
    Chunk(Chunk),
    /// Behind a head that asks for another protocol: what follows is in either.
    Switching,
    /// Behind a fault, of which hyper makes the last answer on the connection.
    Spoiled,
}

/// Where in a chunked body (RFC 9112 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// In a size with so many digits so far, which say so much.
    Size {
        digits: u32,
        size: u64,
    },
    /// In blanks behind a size, which only an extension may follow.
    Blanks {
        size: u64,
    },
    Extension {
        size: u64,
    },
    /// Before the line feed of a size.
    LineFeed {
        size: u64,
    },
    Data(u64),
    /// Before the line end behind data.
    Return,
    End,
    Trailers,
}

/// What one head has said so far of what follows it.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    length: Option<u64>,
    is_chunked: bool,
    asks_to_switch: bool,
}

/// A fault, or a request that hyper refuses without our help.
#[derive(Debug)]
struct Fault;

/// Digits of a chunk's size; more would be zeros in front or a size beyond 64 bits.
const SIZE_DIGITS_MAX: u32 = 16;

/// What hyper takes neither in a head nor in trailers.
const SPOILT_LINE: u8 = 0;

/// What hyper takes neither in a chunk's size nor in its extensions.
const SPOILT_CHUNK: u8 = b'\n';

impl Inspector {
    /// One for a new connection, whose bodies may have so many bytes of chunk extensions each.
    pub(crate) fn new(extension_bytes_max: usize) -> Inspector {
        Inspector {
            state: State::RequestLine,
            line_so_far: Vec::new(),
            head: Head::default(),
            heads: 0,
            extension_bytes: 0,
            extension_bytes_max,
        }
    }

    /// Looks at the bytes that came next, and gives how many of them belong to requests for sure: all, unless a request
    /// among them asks for another protocol. What comes behind that one has to be shown again, after
    /// [`Inspector::stays`].
    pub(crate) fn inspect(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &mut bytes[at..];
            at += match self.state {
                State::RequestLine | State::Fields | State::Chunk(Chunk::Trailers) => self.lines(rest),
                State::Body(left) => {
                    let (taken, left) = skip(left, rest);
                    self.state = if left == 0 { State::RequestLine } else { State::Body(left) };
                    taken
                }
                State::Chunk(Chunk::Data(left)) => {
                    let (taken, left) = skip(left, rest);
                    self.state = State::Chunk(if left == 0 { Chunk::Return } else { Chunk::Data(left) });
                    taken
                }
                State::Chunk(chunk) => {
                    self.chunk_byte(chunk, &mut rest[0]);
                    1
                }
                State::Switching => return at,
                State::Spoiled => return bytes.len(),
            };
        }
        at
    }

    /// How many heads were complete so far.
    pub(crate) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the body of the last request has yet to be complete.
    pub(crate) fn is_within_body(&self) -> bool {
        matches!(self.state, State::Body(_) | State::Chunk(_))
    }

    /// Whether what has come is refused whatever follows it, as far as that shows before the head is complete.
    pub(crate) fn is_refused(&self) -> bool {
        let is_odd = |byte: &u8| !matches!(byte, b' '..=b'~' | b'\r');
        self.state == State::Spoiled || (self.state == State::RequestLine && self.line_so_far.iter().any(is_odd))
    }

    /// Whether the last request asks for another protocol and it is not known yet whether it gets it.
    pub(crate) fn is_switching(&self) -> bool {
        self.state == State::Switching
    }

    /// It does not, so that another request follows.
    pub(crate) fn stays(&mut self) {
        self.state = State::RequestLine;
    }

    /// Whether the last body had more chunk extensions than it may.
    pub(crate) fn is_extended_too_much(&self) -> bool {
        self.extension_bytes > self.extension_bytes_max
    }

    /// Takes the lines of a head or of trailers, of which the last may be only the beginning.
    fn lines(&mut self, bytes: &mut [u8]) -> usize {
        let mut begin = 0;
        while let Some(length) = find(b'\n', &bytes[begin..]) {
            let end = begin + length;
            let line = &mut bytes[begin..end];
            begin = end + 1;
            let is_whole = self.line_so_far.is_empty();
            // Most lines are such, so that there is no more to do for them.
            if is_whole && matches!(self.state, State::Fields) && is_meaningless(line) {
                continue;
            }
            let next = if is_whole { self.judge(line) } else { self.judge_joined(line) };
            match next {
                Ok(State::Fields) => self.state = State::Fields,
                Ok(next) => {
                    self.state = next;
                    return begin;
                }
                Err(Fault) => {
                    bytes[end] = SPOILT_LINE;
                    self.state = State::Spoiled;
                    return begin;
                }
            }
        }
        self.line_so_far.extend_from_slice(&bytes[begin..]);
        bytes.len()
    }

    /// Judges a line of which this is what had yet to come.
    #[cold]
    fn judge_joined(&mut self, rest: &[u8]) -> Result<State, Fault> {
        let mut line = std::mem::take(&mut self.line_so_far);
        line.extend_from_slice(rest);
        self.judge(&mut line)
    }

    /// What comes after a line, which is here without its line feed. RFC 9112 section 2.2 lets a recipient take a line
    /// feed alone for a line end; those that do not see other fields.
    #[inline(always)]
    fn judge(&mut self, line: &mut [u8]) -> Result<State, Fault> {
        let Some((b'\r', line)) = line.split_last_mut() else {
            return Err(Fault);
        };
        match (self.state, line.is_empty()) {
            (State::Fields, false) => self.head.field(line).map(|()| State::Fields),
            (State::Fields, true) => {
                self.heads += 1;
                self.extension_bytes = 0;
                Ok(std::mem::take(&mut self.head).what_follows())
            }
            (State::RequestLine, true) => Ok(State::RequestLine),
            (State::RequestLine, false) => request_line(line),
            (state, is_empty) => Ok(if is_empty { State::RequestLine } else { state }),
        }
    }

    /// Takes one byte of what is around the data of chunks.
    fn chunk_byte(&mut self, chunk: Chunk, byte: &mut u8) {
        let next = self.after_chunk_byte(chunk, *byte);
        self.state = next.map_or_else(
            || {
                // Behind data hyper goes by the line end itself.
                if !matches!(chunk, Chunk::Return | Chunk::End | Chunk::LineFeed { .. }) {
                    *byte = SPOILT_CHUNK;
                }
                State::Spoiled
            },
            State::Chunk,
        );
    }

    fn after_chunk_byte(&mut self, chunk: Chunk, byte: u8) -> Option<Chunk> {
        match (chunk, byte) {
            (Chunk::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16)?;
                let size = size << 4 | u64::from(digit);
                (digits < SIZE_DIGITS_MAX).then_some(Chunk::Size { digits: digits + 1, size })
            }
            (Chunk::Size { digits: 0, .. }, _) => None,
            (Chunk::Size { size, .. } | Chunk::Extension { size }, b'\r') => Some(Chunk::LineFeed { size }),
            (Chunk::Size { size, .. } | Chunk::Blanks { size }, b' ' | b'\t') => self.extension(Chunk::Blanks { size }),
            (Chunk::Size { size, .. } | Chunk::Blanks { size }, b';') => self.extension(Chunk::Extension { size }),
            (Chunk::Extension { .. }, b'\t') => self.extension(chunk),
            (Chunk::Extension { .. }, _) if !byte.is_ascii_control() => self.extension(chunk),
            (Chunk::LineFeed { size: 0 }, b'\n') => Some(Chunk::Trailers),
            (Chunk::LineFeed { size }, b'\n') => Some(Chunk::Data(size)),
            (Chunk::Return, b'\r') => Some(Chunk::End),
            (Chunk::End, b'\n') => Some(Chunk::Size { digits: 0, size: 0 }),
            _ => None,
        }
    }

    /// One more byte of an extension. Their total is bounded, so that many chunks of one byte cannot carry them either
    /// (CVE-2023-39326).
    fn extension(&mut self, next: Chunk) -> Option<Chunk> {
        self.extension_bytes += 1;
        (self.extension_bytes <= self.extension_bytes_max).then_some(next)
    }
}

impl Head {
    fn field(&mut self, line: &[u8]) -> Result<(), Fault> {
        if let Some(value) = value_of(line, b"content-length") {
            // Several that differ, hyper refuses.
            self.length = Some(number(value).ok_or(Fault)?);
        }
        self.is_chunked |= value_of(line, b"transfer-encoding").is_some();
        self.asks_to_switch |= value_of(line, b"upgrade").is_some();
        // RFC 9112 section 6.1: it ought to be handled as an error, because who sends it may mean either.
        if self.length.is_some() && self.is_chunked { Err(Fault) } else { Ok(()) }
    }

    /// What comes behind a complete head. Any other transfer coding than one `chunked` is refused, by hyper or by us.
    fn what_follows(self) -> State {
        match self.length {
            _ if self.is_chunked => State::Chunk(Chunk::Size { digits: 0, size: 0 }),
            Some(length @ 1..) => State::Body(length),
            _ if self.asks_to_switch => State::Switching,
            _ => State::RequestLine,
        }
    }
}

/// A target has no fragment (RFC 9112 section 3.2), which hyper cuts off. A later HTTP/1 than 1.1 is taken for 1.1, as
/// RFC 9110 section 2.5 says, which hyper does not know. Any other version it refuses; and it ends the connection
/// without a word at the beginning of HTTP/2 (RFC 9113 section 3.4) where that is not spoken.
fn request_line(line: &mut [u8]) -> Result<State, Fault> {
    if find(b'#', line).is_some() {
        return Err(Fault);
    }
    match line {
        [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9'] => {
            *minor = (*minor).min(b'1');
            Ok(State::Fields)
        }
        _ if *line == *b"PRI * HTTP/2.0" => Ok(State::Spoiled),
        _ => Err(Fault),
    }
}

/// Whether a line is a field, and surely none that [`Head::field`] heeds, as its first letter says already.
fn is_meaningless(line: &[u8]) -> bool {
    matches!(line, [first, .., b'\r'] if !matches!(first | 0x20, b'c' | b't' | b'u'))
}

/// The value of a field of this name, in any case.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    if found.eq_ignore_ascii_case(name) { rest.strip_prefix(b":") } else { None }
}

/// A length as hyper takes it.
fn number(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// Where a byte is first, looked for in eight bytes at a time. Lines are so short that calling a vectorised search
/// takes longer than this does.
fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    const LOWEST: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHEST: u64 = u64::from_le_bytes([0x80; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // Where the byte is, this has a zero, of which taking one away sets the highest bit. Behind the first zero
        // other bytes may look like one, which makes no difference.
        let zero = u64::from_le_bytes(*word) ^ u64::from_le_bytes([byte; 8]);
        let found = zero.wrapping_sub(LOWEST) & !zero & HIGHEST;
        if found != 0 {
            return Some(8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|other| *other == byte).map(|index| 8 * words.len() + index)
}

/// How many of `bytes` belong to a body of which `left` bytes are missing, and how many are missing then.
fn skip(left: u64, bytes: &[u8]) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (taken, left - taken as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXTENSION_BYTES_MAX: usize = 16;

    /// What is left of `bytes` when they come in pieces of `size`, and whether nothing was spoiled.
    fn inspected(bytes: &[u8], size: usize) -> (Vec<u8>, bool) {
        let mut inspector = Inspector::new(EXTENSION_BYTES_MAX);
        let mut left = bytes.to_vec();
        for piece in left.chunks_mut(size) {
            let taken = inspector.inspect(piece);
            assert_eq!(taken, piece.len(), "of {:?}", bytes.escape_ascii().to_string());
        }
        (left, inspector.state != State::Spoiled)
    }

    /// Whether the request, in whatever pieces, goes on unchanged.
    fn passes(request: &str) -> bool {
        let bytes = request.replace('^', "\r\n").into_bytes();
        let whole = inspected(&bytes, bytes.len());
        assert_eq!(inspected(&bytes, 1).1, whole.1, "byte by byte: {request:?}");
        assert!(!whole.1 || whole.0 == bytes, "changed: {request:?}");
        whole.1
    }

    fn chunked(body: &str) -> String {
        format!("POST / HTTP/1.1^Host: a^Transfer-Encoding: chunked^^{body}")
    }

    #[test]
    fn what_every_parser_reads_alike_passes() {
        for request in [
            "GET / HTTP/1.1^Host: a^^",
            "^^GET / HTTP/1.1^Host: a^^GET /second HTTP/1.0^^",
            "POST / HTTP/1.1^Host: a^Content-Length: 5^^\n#\0\n\nGET / HTTP/1.1^Host: a^^",
            "POST / HTTP/1.1^CONTENT-LENGTH:\t05 ^^helloGET / HTTP/1.1^Host: a^^",
            "POST / HTTP/1.1^Content-Length: 5^Content-Length: 5^^hello",
            "GET / HTTP/1.1^Content-Lengthy: x^Transfer-Encodings: x^Uh: x^^",
            &chunked("5^hello^0^^GET / HTTP/1.1^Host: a^^"),
            &chunked("0000000000000005;a=\"b\"^\nello^00^Trailer-Field: x^^GET / HTTP/1.1^Host: a^^"),
            &chunked("5 ;a^hello^0 ;b^^"),
        ] {
            assert!(passes(request), "{request:?}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_spoiled() {
        for request in [
            "\nGET / HTTP/1.1^Host: a^^",
            "GET / HTTP/1.1\nHost: a^^",
            "GET / HTTP/1.1^X: X\nTransfer-Encoding: chunked^^",
            "GET / HTTP/1.1^Host: a\n\n",
            "GET / HTTP/1.1^Host: a^\n",
            "GET /#x HTTP/1.1^Host: a^^",
            "POST / HTTP/1.1^Content-Length: 5^transfer-encoding: chunked^^",
            "POST / HTTP/1.1^Transfer-Encoding: chunked^Content-Length: zz^^",
            "POST / HTTP/1.1^Transfer-Encoding: x^Content-Length: 0^^",
        ] {
            assert!(!passes(request), "{request:?}");
        }
    }

    #[test]
    fn chunks_have_plain_sizes_and_short_extensions() {
        for body in [
            "00000000000000005^hello^0^^",
            "5 ^hello^0^^",
            " 5^hello^0^^",
            "5;\0^hello^0^^",
            "5;a\nb^hello^0^^",
            "5;0123456789abcdef^hello^0^^",
            "1;01234567^h^1;01234567^h^0^^",
            "5\nhello^0^^",
            "5^helloX^0^^",
            "5^hello\n0^^",
            "0\n^",
            "0^X: x\n^",
            "^",
            ";^",
            "g^",
        ] {
            assert!(!passes(&chunked(body)), "{body:?}");
        }
    }

    #[test]
    fn each_body_has_its_own_extensions() {
        let request = chunked("5;01234567^hello^0^^");
        assert!(passes(&request.repeat(3)));
    }

    #[test]
    fn a_later_minor_version_is_taken_for_the_one_spoken_here() {
        for (version, expected) in [("1.2", "1.1"), ("1.9", "1.1"), ("1.0", "1.0")] {
            let request = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
            let left = inspected(request.as_bytes(), request.len()).0;
            assert_eq!(left, request.replace(version, expected).into_bytes(), "{version}");
        }
    }

    #[test]
    fn what_begins_as_no_request_is_refused_before_its_head_is_complete() {
        for begun in
            ["GET / HTTP/2.0\r\n", "GET / HTTP/0.9\r\n", "GET / HTTP/1.10\r\n", "GET /\r\n", "\u{16}", "GET /\t"]
        {
            let mut inspector = Inspector::new(EXTENSION_BYTES_MAX);
            inspector.inspect(&mut begun.as_bytes().to_vec());
            assert!(inspector.is_refused(), "{begun:?}");
        }
    }

    #[test]
    fn what_may_begin_a_request_is_not_refused() {
        let head = "\r\nGET /~a HTTP/1.1\r\nHost: \u{e9}\r\n\r\n";
        for end in 0..head.len() {
            let mut inspector = Inspector::new(EXTENSION_BYTES_MAX);
            inspector.inspect(&mut head.as_bytes()[..end].to_vec());
            assert!(!inspector.is_refused(), "{:?}", head.as_bytes()[..end].escape_ascii().to_string());
        }
    }

    #[test]
    fn what_follows_a_wish_to_switch_waits() {
        let request = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
        let mut bytes = [&request[..], b"\x81\n\0"].concat();
        let mut inspector = Inspector::new(EXTENSION_BYTES_MAX);
        assert_eq!(inspector.inspect(&mut bytes), request.len());
        assert!(inspector.is_switching());
        inspector.stays();
        assert_eq!(inspector.inspect(&mut bytes[request.len()..]), 3);
        assert_eq!(inspector.state, State::Spoiled);
    }

    #[test]
    fn nothing_switches_behind_a_body() {
        assert!(passes("POST / HTTP/1.1^Upgrade: x^Content-Length: 1^^xGET / HTTP/1.1^^"));
    }

    proptest! {
        #[test]
        fn a_byte_is_found_where_it_is_first(bytes in proptest::collection::vec(8u8..13, 0..40)) {
            prop_assert_eq!(find(b'\n', &bytes), bytes.iter().position(|byte| *byte == b'\n'), "{:?}", bytes);
        }

        #[test]
        fn pieces_make_no_difference(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("POST / HTTP/1.1\r\n"), Just("Transfer-Encoding: chunked\r\n"), Just("Content-Length: 3\r\n"),
                    Just("X: y\r\n"), Just("\r\n"), Just("\n"), Just("3\r\nabc\r\n"), Just("0\r\n"), Just("abc"),
                    Just(";"), Just("#"), Just("\0"),
                ],
                0..20,
            ),
            size in 1usize..9,
        ) {
            let bytes = parts.concat().into_bytes();
            prop_assert_eq!(inspected(&bytes, size), inspected(&bytes, bytes.len().max(1)), "{:?}", parts);
        }
    }
}
