//! A parser of HTTP/1 messages that takes nothing that two recipients could read in two ways, and says what it is that
//! they could. It is written for this suite alone, so that it makes no mistake together with the proxy.

use crate::suite::finding::Finding;

/// A message, or as much of it as came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) line: String,
    /// Names in lower case, and values.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether all of it came.
    pub(crate) is_whole: bool,
    /// Whether nobody can say where it ends.
    pub(crate) is_broken: bool,
    pub(crate) findings: Vec<Finding>,
    /// How many bytes it is.
    pub(crate) length: usize,
}

/// Where a body ends.
#[derive(Clone, Copy)]
enum Framing {
    Chunks,
    End,
    Length(usize),
}

impl Message {
    /// The first request in `bytes`; `None` before its head is there.
    pub(crate) fn request(bytes: &[u8]) -> Option<Message> {
        let (mut message, rest) = Message::head(bytes)?;
        message.check_request_line();
        let hosts = message.all("host").count();
        if hosts != 1 {
            message.hard(format!("{hosts} Host fields"));
        }
        let framing = message.framing().unwrap_or(Framing::Length(0));
        message.take_body(framing, rest, false);
        Some(message)
    }

    /// The first response in `bytes`, after which the connection `has_ended` or not; `None` before its head is there.
    pub(crate) fn response(bytes: &[u8], is_to_head: bool, has_ended: bool) -> Option<Message> {
        let (mut message, rest) = Message::head(bytes)?;
        message.check_status_line();
        let framing = message.framing().unwrap_or(Framing::End);
        let has_none = is_to_head || matches!(message.status(), 100..200 | 204 | 304);
        message.take_body(if has_none { Framing::Length(0) } else { framing }, rest, has_ended);
        Some(message)
    }

    /// The status of a response; 0 when there is none.
    pub(crate) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// All lines of the head, names in lower case.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let fields = self.fields.iter().map(|(name, value)| format!("{name}: {value}"));
        [self.line.clone()].into_iter().chain(fields)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |field| field.0 == name).map(|field| field.1.as_str())
    }

    fn hard(&mut self, what: impl Into<String>) {
        self.findings.push(Finding::hard(what));
    }

    /// The head, and what follows it.
    fn head(bytes: &[u8]) -> Option<(Message, &[u8])> {
        let end = find(bytes, b"\r\n\r\n")?;
        let mut lines = lines_of(&bytes[..end]);
        let line = shown(lines.next().unwrap_or_default());
        let mut message = Message { line, length: end + 4, ..Message::default() };
        for line in lines {
            message.take_field(line);
        }
        Some((message, &bytes[end + 4..]))
    }

    fn take_field(&mut self, line: &[u8]) {
        let text = shown(line);
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            self.hard(format!("a folded line: {text:?}"));
        }
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            self.hard(format!("a CR, LF or NUL inside of a line: {text:?}"));
        }
        let Some((name, value)) = text.split_once(':') else {
            return self.hard(format!("a line without a colon: {text:?}"));
        };
        if name.is_empty() || name.ends_with([' ', '\t']) {
            self.hard(format!("{name:?} before a colon"));
        } else if !name.bytes().all(is_token_byte) {
            self.findings.push(Finding::lenient(format!("{name:?} is no name of a field")));
        }
        self.fields.push((name.trim().to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }

    fn check_request_line(&mut self) {
        let words: Vec<&str> = self.line.split(' ').collect();
        let is_plain = match &words[..] {
            [method, target, "HTTP/1.1" | "HTTP/1.0"] => {
                !method.is_empty() && method.bytes().all(is_token_byte) && target.bytes().all(|byte| byte > b' ')
            }
            _ => false,
        };
        if !is_plain || self.line.contains(['\r', '\n', '\0']) {
            self.hard(format!("{:?} is no request line", self.line));
        }
    }

    fn check_status_line(&mut self) {
        let version = self.line.split(' ').next().unwrap_or_default();
        let what = format!("{:?} is no status line", self.line);
        if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || self.line.contains(['\r', '\n', '\0']) {
            self.hard(what);
        } else if !(100..1_000).contains(&self.status()) {
            self.findings.push(Finding::lenient(what));
        }
    }

    /// Where the body ends, if the head says that it has one.
    fn framing(&mut self) -> Option<Framing> {
        let codings: Vec<String> = self.all("transfer-encoding").map(str::to_owned).collect();
        let lengths: Vec<String> = self.all("content-length").map(str::to_owned).collect();
        if !codings.is_empty() && codings != ["chunked"] {
            self.hard(format!("Transfer-Encoding is {codings:?}"));
            self.is_broken = true;
        }
        if lengths.len() > 1 {
            self.hard(format!("Content-Length is {lengths:?}"));
        }
        if !codings.is_empty() && !lengths.is_empty() {
            self.hard(format!("Transfer-Encoding {codings:?} beside Content-Length {lengths:?}"));
        }
        if !codings.is_empty() {
            return Some(Framing::Chunks);
        }
        let length = lengths.first()?;
        let Some(number) = length.parse().ok().filter(|_| length.bytes().all(|byte| byte.is_ascii_digit())) else {
            self.hard(format!("Content-Length is {length:?}"));
            self.is_broken = true;
            return None;
        };
        if length.len() > 1 && length.starts_with('0') {
            self.findings.push(Finding::lenient(format!("Content-Length is {length:?}")));
        }
        Some(Framing::Length(number))
    }

    fn take_body(&mut self, framing: Framing, rest: &[u8], has_ended: bool) {
        if self.is_broken {
            self.length += rest.len();
            return;
        }
        match framing {
            Framing::Chunks => self.take_chunks(rest),
            Framing::End => {
                (self.body, self.is_whole) = (rest.to_vec(), has_ended);
                self.length += rest.len();
            }
            Framing::Length(length) => {
                self.body = rest[..length.min(rest.len())].to_vec();
                self.is_whole = rest.len() >= length;
                self.length += self.body.len();
            }
        }
    }

    fn take_chunks(&mut self, rest: &[u8]) {
        let mut at = 0;
        while let Some(end) = find(&rest[at..], b"\r\n") {
            let line = &rest[at..at + end];
            let Some(size) = self.chunk_size(line) else {
                self.hard(format!("{:?} is no chunk size", shown(line)));
                self.is_broken = true;
                break;
            };
            at += end + 2;
            if size == 0 {
                return self.take_trailers(rest, at);
            }
            let data = &rest[at..];
            self.body.extend_from_slice(&data[..size.min(data.len())]);
            if data.len() < size + 2 {
                break;
            }
            if !data[size..].starts_with(b"\r\n") {
                self.hard(format!("a chunk ends with {:?}", shown(&data[size..size + 2])));
                self.is_broken = true;
                break;
            }
            at += size + 2;
        }
        self.length += rest.len();
    }

    fn chunk_size(&mut self, line: &[u8]) -> Option<usize> {
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        if digits.len() < line.len() {
            self.findings.push(Finding::lenient(format!("a chunk extension: {:?}", shown(line))));
        }
        let is_number = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
        let is_line = !line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
        let digits = std::str::from_utf8(digits).ok().filter(|_| is_number && is_line)?;
        usize::from_str_radix(digits, 16).ok()
    }

    fn take_trailers(&mut self, rest: &[u8], mut at: usize) {
        while let Some(end) = find(&rest[at..], b"\r\n") {
            let line = &rest[at..at + end];
            at += end + 2;
            if line.is_empty() {
                self.is_whole = true;
                self.length += at;
                return;
            }
            self.take_field(line);
        }
        self.length += rest.len();
    }
}

/// Where `wanted` begins.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Bytes as text, of which nothing is lost: those beyond ASCII are shown as Latin-1.
pub(crate) fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn lines_of(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let end = find(bytes, b"\r\n");
        let line = &bytes[..end.unwrap_or(bytes.len())];
        is_over = end.is_none();
        bytes = &bytes[end.map_or(bytes.len(), |end| end + 2)..];
        Some(line)
    })
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
