//! Finds one value of a JSON document while the document arrives, and keeps nothing but that value.

use crate::routing::json_pointer::JsonPointer;
use crate::routing::json_pointer::Token;

/// What a document has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There is no string, number or boolean there, or what came is no JSON.
    Absent,
    /// The value: a string unescaped, a number as it is written, `true` or `false`.
    Found(Vec<u8>),
    /// What came so far does not say.
    NeedMore,
}

/// Looks for one value in one document (RFC 8259), which may be cut anywhere into pieces.
///
/// Of repeated names the first one counts. What follows the value is not looked at, and of strings on the way only what
/// tells where they end: they need not be UTF-8. Containers nested deeper than [`DEPTH_MAX`] count as no JSON. Once the
/// finding is another than [`Finding::NeedMore`], the reader is of no more use.
#[derive(Clone, Debug)]
pub struct JsonReader {
    pointer: JsonPointer,
    /// Tokens of the pointer that were found: the container that is looked into lies at this depth, its content one
    /// deeper. It never decreases, since the first member of a name is the only one.
    matched: usize,
    nesting: Nesting,
    /// Elements seen of the array that is looked into.
    element: usize,
    state: State,
    /// The string that is read, in that state.
    text: Text,
    value: Vec<u8>,
}

/// Containers may be nested so deep, as in serde_json.
pub const DEPTH_MAX: usize = 128;

/// What may come next.
#[derive(Clone, Copy, Debug)]
enum State {
    AfterValue,
    Colon,
    /// The rest of `true`, `false` or `null`.
    Literal(&'static [u8]),
    Name {
        /// Whether the object may end instead.
        may_close: bool,
    },
    Number(Number),
    Text,
    Value {
        /// Whether the array may end instead.
        may_close: bool,
    },
}

/// Why a document needs no more reading.
#[derive(Clone, Copy)]
enum Stop {
    Absent,
    Found,
}

impl JsonReader {
    /// A reader at the start of a document.
    pub fn new(pointer: JsonPointer) -> JsonReader {
        JsonReader {
            pointer,
            matched: 0,
            nesting: Nesting::default(),
            element: 0,
            state: State::Value { may_close: false },
            text: Text::new(Role::Passed),
            value: Vec::new(),
        }
    }

    /// Reads the next piece of the document.
    pub fn feed(&mut self, piece: &[u8]) -> Finding {
        let read = self.read(piece);
        self.finding(read)
    }

    /// Says what is known of a document that ends here: a number that is all of it may have been waiting for that.
    pub fn end(&mut self) -> Finding {
        match self.state {
            State::Number(number) if self.nesting.depth == 0 && number.is_complete() => self.finding(Err(Stop::Found)),
            _ => Finding::Absent,
        }
    }

    fn finding(&mut self, read: Result<(), Stop>) -> Finding {
        match read {
            Ok(()) => Finding::NeedMore,
            Err(Stop::Found) => Finding::Found(std::mem::take(&mut self.value)),
            Err(Stop::Absent) => Finding::Absent,
        }
    }

    fn read(&mut self, mut rest: &[u8]) -> Result<(), Stop> {
        while let Some((&byte, tail)) = rest.split_first() {
            let is_plain = matches!(self.state, State::Text) && self.text.is_plain();
            let run = if is_plain { plain_run(rest) } else { 0 };
            if run > 0 {
                self.emit(&rest[..run]);
                rest = &rest[run..];
            } else {
                self.step(byte)?;
                rest = tail;
            }
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<(), Stop> {
        match (self.state, byte) {
            (State::Text, _) => return self.text(byte),
            (State::Number(number), _) => return self.number(number, byte),
            (State::Literal(rest), _) => return self.literal(rest, byte),
            (_, b' ' | b'\t' | b'\n' | b'\r') => {}
            (State::AfterValue, b',') if self.nesting.is_in_object() => self.state = State::Name { may_close: false },
            (State::AfterValue, b',') => self.state = State::Value { may_close: false },
            (State::AfterValue | State::Name { may_close: true }, b'}') => return self.close(true),
            (State::AfterValue | State::Value { may_close: true }, b']') => return self.close(false),
            (State::Colon, b':') => self.state = State::Value { may_close: false },
            (State::Name { .. }, b'"') => self.begin_text(Role::Name(self.is_looked_into().then_some(0))),
            (State::Value { .. }, _) => return self.begin_value(byte),
            _ => return Err(Stop::Absent),
        }
        Ok(())
    }

    /// Whether the innermost container is the one that the next token is looked for in: all others on the way are at a
    /// lesser depth, and all beside the way at a greater.
    fn is_looked_into(&self) -> bool {
        self.nesting.depth == self.matched + 1
    }

    /// The token that is looked for; `None` when all were found.
    fn wanted(&self) -> Option<&Token> {
        self.pointer.token(self.matched)
    }

    fn begin_value(&mut self, byte: u8) -> Result<(), Stop> {
        if self.is_looked_into() && !self.nesting.is_in_object() {
            let is_wanted = self.wanted().is_some_and(|token| token.index == Some(self.element));
            self.matched += usize::from(is_wanted);
            self.element += 1;
        }
        let is_on_way = self.nesting.depth == self.matched;
        let is_target = is_on_way && self.wanted().is_none();
        let is_container = matches!(byte, b'{' | b'[');
        // Either the target is no scalar, or the pointer goes on where there is one.
        if is_on_way && is_target == is_container {
            return Err(Stop::Absent);
        }
        match byte {
            b'{' | b'[' => return self.open(byte == b'{'),
            b'"' => self.begin_text(if is_target { Role::Target } else { Role::Passed }),
            b't' => self.begin_literal(b"true", is_target),
            b'f' => self.begin_literal(b"false", is_target),
            b'n' if !is_target => self.begin_literal(b"null", false),
            _ => {
                self.state = State::Number(Number::begin(byte).ok_or(Stop::Absent)?);
                self.value.extend(is_target.then_some(byte));
            }
        }
        Ok(())
    }

    fn begin_literal(&mut self, word: &'static [u8], is_target: bool) {
        if is_target {
            self.value.extend_from_slice(word);
        }
        self.state = State::Literal(&word[1..]);
    }

    fn begin_text(&mut self, role: Role) {
        (self.state, self.text) = (State::Text, Text::new(role));
    }

    /// A scalar is over; only the target stands at the depth of what was found on the way.
    fn end_value(&mut self) -> Result<(), Stop> {
        if self.nesting.depth == self.matched {
            return Err(Stop::Found);
        }
        self.state = State::AfterValue;
        Ok(())
    }

    fn open(&mut self, is_object: bool) -> Result<(), Stop> {
        self.nesting.push(is_object)?;
        if self.is_looked_into() {
            self.element = 0;
        }
        self.state = if is_object { State::Name { may_close: true } } else { State::Value { may_close: true } };
        Ok(())
    }

    fn close(&mut self, is_object: bool) -> Result<(), Stop> {
        // What was looked for would have been in there.
        if self.is_looked_into() {
            return Err(Stop::Absent);
        }
        self.state = State::AfterValue;
        self.nesting.pop(is_object)
    }

    fn literal(&mut self, rest: &'static [u8], byte: u8) -> Result<(), Stop> {
        match rest {
            [expected] if byte == *expected => self.end_value(),
            [expected, rest @ ..] if byte == *expected => {
                self.state = State::Literal(rest);
                Ok(())
            }
            _ => Err(Stop::Absent),
        }
    }

    fn number(&mut self, number: Number, byte: u8) -> Result<(), Stop> {
        if let Some(number) = number.then(byte) {
            self.state = State::Number(number);
            if self.nesting.depth == self.matched {
                self.value.push(byte);
            }
            return Ok(());
        }
        let ends_number = matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
        if !number.is_complete() || !ends_number {
            return Err(Stop::Absent);
        }
        self.end_value()?;
        self.step(byte)
    }

    fn text(&mut self, byte: u8) -> Result<(), Stop> {
        match (self.text.escape, byte) {
            (Escape::Unit { digits, unit }, _) => {
                let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
                let unit = unit << 4 | digit.ok_or(Stop::Absent)?;
                if digits == 3 {
                    return self.unit(unit);
                }
                self.text.escape = Escape::Unit { digits: digits + 1, unit };
            }
            (Escape::Begun, b'u') => self.text.escape = Escape::Unit { digits: 0, unit: 0 },
            (Escape::Begun, _) => {
                self.alone()?;
                self.text.escape = Escape::None;
                self.emit(&[unescaped(byte).ok_or(Stop::Absent)?]);
            }
            (Escape::None, b'\\') => self.text.escape = Escape::Begun,
            (Escape::None, b'"') => return self.end_text(),
            (Escape::None, 0..0x20) => return Err(Stop::Absent),
            (Escape::None, _) => {
                self.alone()?;
                self.emit(&[byte]);
            }
        }
        Ok(())
    }

    /// An escaped UTF-16 code unit: a character, or a half of one.
    fn unit(&mut self, unit: u16) -> Result<(), Stop> {
        self.text.escape = Escape::None;
        if (0xD800..0xDC00).contains(&unit) {
            self.alone()?;
            self.text.high = Some(unit);
            return Ok(());
        }
        for decoded in char::decode_utf16(self.text.high.take().into_iter().chain([unit])) {
            match decoded {
                Ok(character) => self.emit(character.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(_) => self.half()?,
            }
        }
        Ok(())
    }

    /// What comes next is no second half of a surrogate pair.
    fn alone(&mut self) -> Result<(), Stop> {
        if self.text.high.take().is_some() { self.half() } else { Ok(()) }
    }

    /// Half a surrogate pair, which JSON allows and no text has, is in no key and no name that is looked for.
    fn half(&mut self) -> Result<(), Stop> {
        match self.text.role {
            Role::Target => return Err(Stop::Absent),
            Role::Name(_) => self.text.role = Role::Name(None),
            Role::Passed => {}
        }
        Ok(())
    }

    /// Takes what a string holds.
    fn emit(&mut self, bytes: &[u8]) {
        match self.text.role {
            Role::Name(Some(compared)) => {
                let rest = self.wanted().and_then(|token| token.name.as_bytes().get(compared..));
                let is_so_far = rest.is_some_and(|rest| rest.starts_with(bytes));
                self.text.role = Role::Name(is_so_far.then_some(compared + bytes.len()));
            }
            Role::Target => self.value.extend_from_slice(bytes),
            Role::Name(None) | Role::Passed => {}
        }
    }

    fn end_text(&mut self) -> Result<(), Stop> {
        self.alone()?;
        match self.text.role {
            Role::Name(compared) => {
                let is_wanted = compared.is_some() && compared == self.wanted().map(|token| token.name.len());
                self.matched += usize::from(is_wanted);
                self.state = State::Colon;
                Ok(())
            }
            Role::Target if std::str::from_utf8(&self.value).is_err() => Err(Stop::Absent),
            Role::Target | Role::Passed => self.end_value(),
        }
    }
}

/// Which containers are open, the innermost last.
#[derive(Clone, Copy, Debug, Default)]
struct Nesting {
    depth: usize,
    /// A bit for each: whether it is an object.
    objects: u128,
}

impl Nesting {
    fn push(&mut self, is_object: bool) -> Result<(), Stop> {
        if self.depth == DEPTH_MAX {
            return Err(Stop::Absent);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(is_object);
        Ok(())
    }

    fn pop(&mut self, is_object: bool) -> Result<(), Stop> {
        if self.depth == 0 || self.is_in_object() != is_object {
            return Err(Stop::Absent);
        }
        self.depth -= 1;
        self.objects >>= 1;
        Ok(())
    }

    fn is_in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

/// Where in a number a reader is: after its sign, its first digits, and so on (RFC 8259 section 6).
#[derive(Clone, Copy, Debug)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Number {
    fn begin(byte: u8) -> Option<Number> {
        match byte {
            b'-' => Some(Number::Minus),
            b'0' => Some(Number::Zero),
            b'1'..=b'9' => Some(Number::Integer),
            _ => None,
        }
    }

    fn then(self, byte: u8) -> Option<Number> {
        match (self, byte) {
            (Number::Minus, b'0'..=b'9') => Number::begin(byte),
            (Number::Integer, b'0'..=b'9') => Some(Number::Integer),
            (Number::Zero | Number::Integer, b'.') => Some(Number::Point),
            (Number::Point | Number::Fraction, b'0'..=b'9') => Some(Number::Fraction),
            (Number::Zero | Number::Integer | Number::Fraction, b'e' | b'E') => Some(Number::Exponent),
            (Number::Exponent, b'+' | b'-') => Some(Number::ExponentSign),
            (Number::Exponent | Number::ExponentSign | Number::ExponentDigits, b'0'..=b'9') => {
                Some(Number::ExponentDigits)
            }
            _ => None,
        }
    }

    fn is_complete(self) -> bool {
        matches!(self, Number::Zero | Number::Integer | Number::Fraction | Number::ExponentDigits)
    }
}

/// Where in a string a reader is.
#[derive(Clone, Copy, Debug)]
struct Text {
    role: Role,
    escape: Escape,
    /// The first half of a surrogate pair, whose second one must follow.
    high: Option<u16>,
}

/// What a string is to the reader.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// A name; `Some` while it begins as the one that is looked for, with how much of that.
    Name(Option<usize>),
    /// Any other value.
    Passed,
    /// The value that is looked for.
    Target,
}

#[derive(Clone, Copy, Debug)]
enum Escape {
    /// After the backslash.
    Begun,
    None,
    /// After `\u` and so many hex digits, which make this so far.
    Unit {
        digits: u8,
        unit: u16,
    },
}

impl Text {
    fn new(role: Role) -> Text {
        Text { role, escape: Escape::None, high: None }
    }

    /// Whether the next byte stands for itself unless it is special.
    fn is_plain(self) -> bool {
        matches!(self.escape, Escape::None) && self.high.is_none()
    }
}

/// How many bytes stand for themselves in a string. Prompts are long: whole blocks are looked at at once, in a way that
/// compiles to vector instructions.
fn plain_run(bytes: &[u8]) -> usize {
    let is_special = |byte: u8| (byte == b'"') | (byte == b'\\') | (byte < 0x20);
    let is_plain = |block: &&[u8]| !block.iter().fold(false, |any, byte| any | is_special(*byte));
    let skipped = bytes.chunks_exact(BLOCK).take_while(is_plain).count() * BLOCK;
    let rest = &bytes[skipped..];
    skipped + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

const BLOCK: usize = 32;

/// What a character after a backslash stands for (RFC 8259 section 7), `u` aside.
fn unescaped(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' | b'/' => Some(byte),
        b'b' => Some(0x08),
        b'f' => Some(0x0C),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// What stands at `pointer`, the document being fed in pieces that end at `cuts`.
    fn find_cut(pointer: &str, document: &[u8], cuts: &[usize]) -> Finding {
        let mut reader = JsonReader::new(pointer.parse().unwrap());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (document.len() + 1)).collect();
        cuts.extend([0, document.len()]);
        cuts.sort_unstable();
        for piece in cuts.windows(2) {
            match reader.feed(&document[piece[0]..piece[1]]) {
                Finding::NeedMore => {}
                finding => return finding,
            }
        }
        reader.end()
    }

    /// The same whole and byte by byte, which must agree; `None` when absent.
    fn find(pointer: &str, document: &[u8]) -> Option<String> {
        let whole = find_cut(pointer, document, &[]);
        let every: Vec<usize> = (0..document.len()).collect();
        assert_eq!(whole, find_cut(pointer, document, &every), "{pointer} in {}", document.escape_ascii());
        match whole {
            Finding::Found(value) => Some(String::from_utf8(value).unwrap()),
            Finding::Absent => None,
            Finding::NeedMore => panic!("{pointer} in {}: the document has ended", document.escape_ascii()),
        }
    }

    fn check(cases: &[(&str, &str, Option<&str>)]) {
        for (pointer, document, expected) in cases {
            assert_eq!(find(pointer, document.as_bytes()).as_deref(), *expected, "{pointer} in {document}");
        }
    }

    #[test]
    fn strings_numbers_and_booleans_are_found_and_nothing_else() {
        check(&[
            ("/k", r#"{"k":"v"}"#, Some("v")),
            ("/k", r#" { "a" : [ 1 , { } ] , "k" : "v" } "#, Some("v")),
            ("/k", r#"{"k":""}"#, Some("")),
            ("/k", r#"{"k":-0.50E+07}"#, Some("-0.50E+07")),
            ("/k", r#"{"k":true}"#, Some("true")),
            ("/k", r#"{"a":null,"k":false}"#, Some("false")),
            ("/k", r#"{"k":null}"#, None),
            ("/k", r#"{"k":{}}"#, None),
            ("/k", r#"{"k":["v"]}"#, None),
            ("", r#""v""#, Some("v")),
            ("", " 17", Some("17")),
            ("", "17 ", Some("17")),
            ("", "{}", None),
        ]);
    }

    #[test]
    fn a_pointer_leads_down_and_never_aside() {
        check(&[
            ("/a/b", r#"{"b":"no","x":{"b":"no"},"a":{"x":{"b":"no"},"b":"yes"}}"#, Some("yes")),
            ("/a/b", r#"{"x":{"a":{"b":"no"}},"a":{}}"#, None),
            ("/a/b", r#"{"a":"b"}"#, None),
            ("/a/1/0", r#"{"a":[[],["yes"]]}"#, Some("yes")),
            ("/1", r#"[["no","no"],"yes"]"#, Some("yes")),
            ("/1", r#"{"1":"yes"}"#, Some("yes")),
            ("/1", r#"["no"]"#, None),
            ("/01", r#"["no","no"]"#, None),
            ("/-", r#"["no"]"#, None),
            ("/", r#"{"":"yes"}"#, Some("yes")),
            ("//", r#"{"":{"":"yes"}}"#, Some("yes")),
            ("/a~1b", r#"{"a/b":"yes","a~1b":"no"}"#, Some("yes")),
            ("/~01", r#"{"~1":"yes","/":"no"}"#, Some("yes")),
            ("/kk", r#"{"k":"no","kkk":"no","K":"no","kk":"yes"}"#, Some("yes")),
        ]);
    }

    #[test]
    fn no_key_is_found_in_another_string() {
        check(&[
            ("/k", r#"{"prompt":"\"k\":\"no\"","k":"yes"}"#, Some("yes")),
            ("/k", r#"{"prompt":"{\"k\":\"no\"}"}"#, None),
            ("/k", r#"{"\"k":"no","k\"":"no"}"#, None),
            ("/k", r#"{"prompt":"\\\\","k":"yes"}"#, Some("yes")),
            ("/k", r#"{"prompt":"\\\",\"k\":\"no"}"#, None),
            ("/k", r#"["k","no"]"#, None),
        ]);
    }

    #[test]
    fn the_first_of_repeated_names_counts() {
        check(&[
            ("/k", r#"{"k":"first","k":"second"}"#, Some("first")),
            ("/k", r#"{"k":null,"k":"second"}"#, None),
            ("/a/b", r#"{"a":{"x":1},"a":{"b":"second"}}"#, None),
            ("/a/b", r#"{"a":1,"a":{"b":"second"}}"#, None),
        ]);
    }

    #[test]
    fn escapes_are_read_in_names_and_values() {
        check(&[
            ("/k", r#"{"k":"\"\\\/\b\f\n\r\t"}"#, Some("\"\\/\u{8}\u{c}\n\r\t")),
            ("/k", r#"{"\u006B":"v"}"#, Some("v")),
            ("/k", r#"{"k":"\u00e9\u20AC\uD83D\uDE00!"}"#, Some("é€😀!")),
            ("/😀", r#"{"\ud83d\ude00":"v"}"#, Some("v")),
            ("/é", r#"{"é":"€"}"#, Some("€")),
            ("/k", r#"{"k":"\u0000"}"#, Some("\0")),
        ]);
    }

    #[test]
    fn half_a_surrogate_pair_is_passed_over_and_never_a_key() {
        for half in [r"\ud83d", r"\ude00", r"\ud83d\n", r"\ud83dx", r"\ud83d\ud83d", r"\ud83d\u0041", r"\ude00\ud83d"] {
            check(&[
                ("/k", &format!(r#"{{"k":"{half}"}}"#), None),
                ("/k", &format!(r#"{{"{half}":"no","k{half}":"no","x":"{half}","k":"yes"}}"#), Some("yes")),
            ]);
        }
        check(&[("/k", r#"{"k":"\ud83d\ud83d\ude00"}"#, None)]);
    }

    #[test]
    fn what_is_no_json_has_no_key() {
        for document in [
            "",
            "x",
            "\u{feff}{\"k\":1}",
            "{\"k\"",
            "{\"k\":",
            "{\"k\":\"v",
            "{\"k\":tru",
            "{\"k\":trux}",
            "{\"k\":True}",
            "{\"k\":nul}",
            "{k:\"v\"}",
            "{'k':'v'}",
            "{\"k\" \"v\"}",
            "{\"k\"::1}",
            "{,\"k\":1}",
            "{\"a\":1,,\"k\":1}",
            "{\"a\":1 \"k\":1}",
            "{\"a\":1],\"k\":1}",
            "{\"a\":[1},\"k\":1}",
            "{\"a\":[1,],\"k\":1}",
            "{\"a\":{\"b\":1,},\"k\":1}",
            "{\"a\":[,1],\"k\":1}",
            "{\"k\":\"a\nb\"}",
            "{\"k\":\"\\x\"}",
            "{\"k\":\"\\u12g4\"}",
            "{\"a\":\"\\u12\",\"k\":1}",
            "]{\"k\":1}",
            "{}{\"k\":1}",
            "{\"k\":+1}",
            "{\"k\":01}",
            "{\"k\":.5}",
            "{\"k\":1.}",
            "{\"k\":1e}",
            "{\"k\":1e+}",
            "{\"k\":-}",
            "{\"k\":1x}",
            "{\"k\":1",
            "{\"k\":NaN}",
            "//\n{\"k\":1}",
        ] {
            assert_eq!(find("/k", document.as_bytes()), None, "{document:?}");
        }
        assert_eq!(find("/k", b"{\"k\":\"\xff\"}"), None);
        assert_eq!(find("/k", b"{\"a\xff\":\"\xff\",\"k\":1}").as_deref(), Some("1"), "others need not be UTF-8");
    }

    #[test]
    fn nesting_is_bounded_and_takes_no_stack() {
        let nested = |depth: usize| format!("{{\"a\":{}{},\"k\":1}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(find("/k", nested(DEPTH_MAX - 1).as_bytes()).as_deref(), Some("1"));
        assert_eq!(find("/k", nested(DEPTH_MAX).as_bytes()), None);
        assert_eq!(find("/k", "[".repeat(1_000_000).as_bytes()), None);
    }

    /// Documents with names and values that look like one another and like JSON.
    fn documents() -> impl Strategy<Value = Value> {
        let text = || r#"[ab"\\/~{}\[\]:,0é😀\n]{0,3}|[a-z ]{30,70}"#;
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
            text().prop_map(Value::from),
        ];
        scalar.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((text(), inner), 0..4).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    /// The pointers to all values of a document.
    fn pointers(prefix: &str, value: &Value, found: &mut Vec<String>) {
        found.push(prefix.to_owned());
        match value {
            Value::Array(elements) => {
                elements.iter().enumerate().for_each(|(at, value)| pointers(&format!("{prefix}/{at}"), value, found));
            }
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                pointers(&format!("{prefix}/{}", name.replace('~', "~0").replace('/', "~1")), value, found);
            }),
            _ => {}
        }
    }

    fn expected(value: Option<&Value>) -> Finding {
        match value {
            Some(Value::String(text)) => Finding::Found(text.clone().into_bytes()),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => Finding::Found(value.to_string().into_bytes()),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => Finding::Absent,
        }
    }

    /// The document with some characters of its strings escaped: all but ASCII, and one that is in no literal.
    fn escaped(document: &str) -> String {
        let mut escaped = String::new();
        for character in document.chars() {
            if character == 'b' || !character.is_ascii() {
                let mut units = [0; 2];
                character.encode_utf16(&mut units).iter().for_each(|unit| escaped += &format!("\\u{unit:04x}"));
            } else {
                escaped.push(character);
            }
        }
        escaped
    }

    proptest! {
        #[test]
        fn serde_json_finds_the_same(
            document in documents(),
            cuts in prop::collection::vec(any::<usize>(), 0..8),
            other in "(/[ab01]{0,2}){0,3}",
        ) {
            let mut places = vec![other];
            pointers("", &document, &mut places);
            let plain = document.to_string();
            for text in [&escaped(&plain), &serde_json::to_string_pretty(&document).unwrap(), &plain] {
                for place in &places {
                    let finding = find_cut(place, text.as_bytes(), &cuts);
                    prop_assert_eq!(finding, expected(document.pointer(place)), "{} in {}", place, text);
                }
            }
        }

        #[test]
        fn a_document_that_is_cut_short_never_has_another_key(
            document in documents(),
            length in any::<usize>(),
        ) {
            let text = format!("[{document}]");
            let mut places = Vec::new();
            pointers("/0", &document, &mut places);
            for place in places {
                let finding = find_cut(&place, &text.as_bytes()[..length % text.len()], &[]);
                let whole = find_cut(&place, text.as_bytes(), &[]);
                prop_assert!(finding == Finding::Absent || finding == whole, "{} in {}", place, text);
            }
        }

        #[test]
        fn any_bytes_can_be_read_in_any_pieces(
            bytes in r#"[\[\]{}:,"\\uk019.eE+trueflsn -]{0,40}"#,
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let whole = find_cut("/k", bytes.as_bytes(), &[]);
            prop_assert_eq!(&whole, &find_cut("/k", bytes.as_bytes(), &cuts));
            if let Ok(document) = serde_json::from_str::<Value>(&bytes) {
                // Of repeated names serde_json takes the last.
                if bytes.matches("\"k\"").count() < 2 {
                    prop_assert_eq!(whole == Finding::Absent, expected(document.pointer("/k")) == Finding::Absent);
                }
            }
        }
    }
}
