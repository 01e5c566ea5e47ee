//! Follows the fields of an HTTP/2 client (HPACK, RFC 7541) on their way to hyper, and spoils what h2 would drop
//! without a word although RFC 9113 calls it malformed: a fragment of `:path`, and pseudo-header fields of trailers.
//!
//! Like `inspector` it answers nothing itself. A `#` in `:path` becomes `>`, which no path has either, so that h2
//! resets the stream. From a pseudo-header field in trailers on, a block becomes what no decoder takes, so that h2 ends
//! the connection, as it does where a name is none. Whatever h2 refuses by itself is none of this module's business.
//!
//! Texts are counted, not decoded. What is kept of the table that both sides have is what it takes to know the names
//! of later fields, and when its entries go. Where h2 skips a block, its table is another one: all that come after are
//! spoiled, as is what follows anything that h2 refuses.

mod huffman;
mod table;

use crate::proxy::field_walk::huffman::Codes;
use crate::proxy::field_walk::table::Name;
use crate::proxy::field_walk::table::Table;

/// Follows one connection from its first head.
#[derive(Debug, Default)]
pub(crate) struct FieldWalk {
    /// The stream of the block, and the highest one of those before. Clients count upwards (RFC 9113 section 5.1.1).
    stream: u32,
    highest_stream: u32,
    lead: Lead,
    /// Bytes of the block that have yet to come in this frame.
    left: usize,
    step: Step,
    literal: Literal,
    codes: Codes,
    table: Table,
}

/// A frame with this flag says first how much padding it ends with.
pub(crate) const PADDED: u8 = 0x8;

const PRIORITY: u8 = 0x20;
/// The stream that another depends on, and a weight.
const PRIORITY_BYTES: usize = 5;

/// What a HEADERS frame says before its part of the block (RFC 9113 section 6.2).
#[derive(Debug, Default)]
struct Lead {
    has_padding: bool,
    /// Bytes of the priority that have yet to come.
    left: usize,
    priority: u64,
}

/// Where in a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// Before a field, or a new size of the table.
    #[default]
    Field,
    /// In an integer of which so much has come, before the digits of this weight (section 5.1).
    Integer {
        meaning: Meaning,
        value: u32,
        shift: u8,
    },
    /// Before the length of a text.
    Length(Part),
    Text {
        part: Part,
        is_coded: bool,
    },
    /// Behind what nobody can read on.
    Spoiled,
}

/// What an integer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Which field of the tables this is.
    Field,
    /// Which of them has the same name; 0 where it is written out.
    Name,
    TableSize,
    Length {
        part: Part,
        is_coded: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Name,
    Value,
}

/// A field that is written out.
#[derive(Debug, Default)]
struct Literal {
    /// Whether the table takes it.
    is_kept: bool,
    name: Name,
    /// Bytes of the text of the moment that have yet to come.
    left: usize,
    /// Its characters so far.
    length: usize,
}

/// A pseudo-header field of trailers.
#[derive(Debug)]
struct Misplaced;

impl FieldWalk {
    /// A HEADERS frame with a payload of so many bytes begins.
    pub(crate) fn begin(&mut self, stream: u32, flags: u8, length: usize) {
        self.highest_stream = self.highest_stream.max(self.stream);
        self.stream = stream & STREAM_BITS;
        let has_padding = flags & PADDED != 0;
        let priority = if flags & PRIORITY == 0 { 0 } else { PRIORITY_BYTES };
        self.lead = Lead { has_padding, left: priority, priority: 0 };
        self.left = length.saturating_sub(usize::from(has_padding) + priority);
        if self.step != Step::Spoiled {
            self.step = Step::Field;
        }
    }

    /// A CONTINUATION frame with a payload of so many bytes begins.
    pub(crate) fn go_on(&mut self, length: usize) {
        self.lead = Lead::default();
        self.left = length;
    }

    /// Takes the bytes of the payload that came next, and spoils what nobody may take for harmless.
    pub(crate) fn walk(&mut self, payload: &mut [u8]) {
        let mut at = 0;
        while self.lead.is_open() && at < payload.len() {
            self.lead_byte(payload[at]);
            at += 1;
        }
        let block = &mut payload[at..];
        let length = self.left.min(block.len());
        self.left -= length;
        self.walk_block(&mut block[..length]);
    }

    fn lead_byte(&mut self, byte: u8) {
        if std::mem::take(&mut self.lead.has_padding) {
            self.left = self.left.saturating_sub(usize::from(byte));
            return;
        }
        self.lead.left -= 1;
        self.lead.priority = self.lead.priority << 8 | u64::from(byte);
        // h2 resets a stream that depends on itself without looking at its block.
        if self.lead.left == 0 && (self.lead.priority >> 8) & u64::from(STREAM_BITS) == u64::from(self.stream) {
            self.step = Step::Spoiled;
        }
    }

    fn walk_block(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            // Most fields of heads are of one byte, of which nothing has to be known.
            if self.step == Step::Field && !self.is_trailers() {
                at += bytes[at..].iter().take_while(|byte| (0x80..0xff).contains(*byte)).count();
                if at == bytes.len() {
                    break;
                }
            }
            match self.take(&mut bytes[at..]) {
                Ok(taken) => at += taken,
                // What was just looked at is spoiled too.
                Err(Misplaced) => self.step = Step::Spoiled,
            }
        }
    }

    /// Takes some of the bytes that come next, of which there is one at least.
    fn take(&mut self, bytes: &mut [u8]) -> Result<usize, Misplaced> {
        let first = bytes[0];
        self.step = match self.step {
            Step::Field => self.begin_field(first)?,
            Step::Integer { meaning, value, shift } => self.digits(meaning, value, shift, first)?,
            Step::Length(part) => self.integer(Meaning::Length { part, is_coded: first & 0x80 != 0 }, first, 0x7f)?,
            Step::Text { part, is_coded } => {
                let length = self.literal.left.min(bytes.len());
                self.text(part, is_coded, &mut bytes[..length])?;
                if self.literal.left == 0 {
                    self.step = self.end_text(part);
                }
                return Ok(length);
            }
            Step::Spoiled => {
                bytes.fill(SPOILT);
                return Ok(bytes.len());
            }
        };
        Ok(1)
    }

    /// Takes the first byte of a field, or of a new size of the table (section 6).
    fn begin_field(&mut self, byte: u8) -> Result<Step, Misplaced> {
        let (meaning, mask) = match byte {
            0x80.. => (Meaning::Field, 0x7f),
            0x40.. => (Meaning::Name, 0x3f),
            0x20.. => (Meaning::TableSize, 0x1f),
            _ => (Meaning::Name, 0x0f),
        };
        self.literal.is_kept = byte >= 0x40;
        self.integer(meaning, byte, mask)
    }

    /// Takes the first byte of an integer, which has those bits in it.
    fn integer(&mut self, meaning: Meaning, byte: u8, mask: u8) -> Result<Step, Misplaced> {
        let value = u32::from(byte & mask);
        if byte & mask == mask { Ok(Step::Integer { meaning, value, shift: 0 }) } else { self.said(meaning, value) }
    }

    fn digits(&mut self, meaning: Meaning, value: u32, shift: u8, byte: u8) -> Result<Step, Misplaced> {
        let value = value + (u32::from(byte & 0x7f) << shift);
        match byte {
            0x80.. if shift == SHIFT_MAX => Ok(Step::Spoiled),
            0x80.. => Ok(Step::Integer { meaning, value, shift: shift + 7 }),
            _ => self.said(meaning, value),
        }
    }

    /// An integer is complete.
    fn said(&mut self, meaning: Meaning, value: u32) -> Result<Step, Misplaced> {
        match meaning {
            // What a field of a head was is known since it was written out.
            Meaning::Field if !self.is_trailers() => Ok(Step::Field),
            Meaning::Field => self.named(value, Step::Field),
            Meaning::Name if value == 0 => Ok(Step::Length(Part::Name)),
            Meaning::Name => self.named(value, Step::Length(Part::Value)),
            Meaning::TableSize => Ok(if self.table.resize(value as usize) { Step::Field } else { Step::Spoiled }),
            Meaning::Length { part, is_coded } => Ok(self.begin_text(part, is_coded, value as usize)),
        }
    }

    /// The field has the name of one in the tables, if that is one.
    fn named(&mut self, number: u32, next: Step) -> Result<Step, Misplaced> {
        let Some(name) = self.table.name(number as usize) else {
            return Ok(Step::Spoiled);
        };
        self.name(name)?;
        Ok(next)
    }

    fn name(&mut self, name: Name) -> Result<(), Misplaced> {
        self.literal.name = name;
        if self.is_trailers() && name.is_pseudo() { Err(Misplaced) } else { Ok(()) }
    }

    fn begin_text(&mut self, part: Part, is_coded: bool, length: usize) -> Step {
        if part == Part::Name {
            self.literal.name = Name::default();
        }
        self.literal.length = 0;
        self.literal.left = length;
        self.codes = Codes::default();
        if length == 0 { self.end_text(part) } else { Step::Text { part, is_coded } }
    }

    /// Takes more of a text, of which there is one byte at least.
    fn text(&mut self, part: Part, is_coded: bool, bytes: &mut [u8]) -> Result<(), Misplaced> {
        if part == Part::Name && self.literal.length == 0 && self.codes.is_empty() {
            let is_pseudo = if is_coded { huffman::begins_with_colon(bytes) } else { bytes[0] == b':' };
            self.name(Name::new(0, is_pseudo))?;
        }
        self.literal.left -= bytes.len();
        let is_path = part == Part::Value && self.literal.name.is_path();
        let has_to_count = part == Part::Name || self.literal.is_kept || (is_path && self.literal.left > 0);
        self.literal.length += if is_coded && is_path && self.codes.may_have_hash(bytes) {
            self.codes.count_and_spoil(bytes)
        } else if is_coded && has_to_count {
            self.codes.count(bytes)
        } else {
            bytes.len()
        };
        if is_path && !is_coded {
            bytes.iter_mut().filter(|byte| **byte == b'#').for_each(|byte| *byte = SPOILT_HASH);
        }
        Ok(())
    }

    fn end_text(&mut self, part: Part) -> Step {
        let Literal { is_kept, name, length, .. } = self.literal;
        match part {
            Part::Name => {
                self.literal.name = Name::new(length, name.is_pseudo());
                Step::Length(Part::Value)
            }
            Part::Value => {
                if is_kept {
                    self.table.insert(name, length);
                }
                Step::Field
            }
        }
    }

    /// Whether a head has come on the stream before.
    fn is_trailers(&self) -> bool {
        self.stream <= self.highest_stream
    }
}

impl Lead {
    fn is_open(&self) -> bool {
        self.has_padding || self.left > 0
    }
}

/// The highest bit beside a number of a stream is none of it.
const STREAM_BITS: u32 = 0x7fff_ffff;

/// The weight of the last digits of an integer that h2 takes.
const SHIFT_MAX: u8 = 21;

/// What no path has; its code is that of `#` but for the last bit.
const SPOILT_HASH: u8 = b'>';

/// However often it comes, it is the number of no field, no length, the end of neither, and no character.
const SPOILT: u8 = 0xff;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::field_walk::huffman::tests::encode;
    use crate::proxy::frame_meter::FrameMeter;
    use bytes::Bytes;
    use loona_hpack::Decoder;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use std::collections::VecDeque;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::LazyLock;
    use std::task::Context;
    use std::task::Poll;
    use std::task::Waker;
    use tokio::io::AsyncWriteExt;
    use tokio::io::DuplexStream;

    type Field = (Vec<u8>, Vec<u8>);

    /// How a field is written.
    #[derive(Clone, Copy, Debug)]
    struct Form {
        /// Whether tables are looked up for all of it, and for its name.
        is_looked_up: (bool, bool),
        is_coded: (bool, bool),
        /// The first bits of a literal, and how many bits a number has beside them.
        kind: (u8, u8),
    }

    const PLAIN: Form = Form { is_looked_up: (false, false), is_coded: (false, false), kind: (0, 4) };
    const CODED: Form = Form { is_coded: (true, true), ..PLAIN };
    const KEPT: (u8, u8) = (0x40, 6);
    const NEVER_KEPT: (u8, u8) = (0x10, 4);

    static STATIC_FIELDS: LazyLock<Vec<Field>> =
        LazyLock::new(|| (1..=61).map(|number| Decoder::new().decode(&[0x80 | number]).unwrap().remove(0)).collect());

    /// Writes fields as no library would, whatever the form.
    struct Encoder {
        table: VecDeque<Field>,
        max: usize,
    }

    impl Encoder {
        fn new() -> Encoder {
            Encoder { table: VecDeque::new(), max: 4096 }
        }

        fn field(&mut self, (name, value): &Field, form: Form) -> Vec<u8> {
            // The last of several, since most are found in the static table first.
            let find = |is_it: &dyn Fn(&Field) -> bool| {
                let at = STATIC_FIELDS.iter().chain(&self.table).enumerate().filter(|(_, field)| is_it(field)).last();
                at.map_or(0, |(at, _)| at + 1)
            };
            let whole = find(&|field| form.is_looked_up.0 && *field == (name.clone(), value.clone()));
            if whole > 0 {
                return number(0x80, 7, whole);
            }
            let named = find(&|field| form.is_looked_up.1 && field.0 == *name);
            let mut bytes = number(form.kind.0, form.kind.1.into(), named);
            if named == 0 {
                bytes.extend(text(name, form.is_coded.0));
            }
            bytes.extend(text(value, form.is_coded.1));
            if form.kind == KEPT {
                self.table.push_front((name.clone(), value.clone()));
                self.evict();
            }
            bytes
        }

        fn resize(&mut self, max: usize) -> Vec<u8> {
            self.max = max;
            self.evict();
            number(0x20, 5, max)
        }

        fn evict(&mut self) {
            while self.size() > self.max {
                self.table.pop_back();
            }
        }

        fn size(&self) -> usize {
            self.table.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
        }
    }

    fn number(first: u8, bits: u32, number: usize) -> Vec<u8> {
        let most = (1 << bits) - 1;
        if number < most {
            return vec![first | number.to_le_bytes()[0]];
        }
        let (mut bytes, mut rest) = (vec![first | most.to_le_bytes()[0]], number - most);
        while rest >= 0x80 {
            bytes.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        bytes.push(rest.to_le_bytes()[0]);
        bytes
    }

    fn text(text: &[u8], is_coded: bool) -> Vec<u8> {
        let written = if is_coded { encode(text) } else { text.to_vec() };
        [number(if is_coded { 0x80 } else { 0 }, 7, written.len()), written].concat()
    }

    fn field(name: &str, value: &str) -> Field {
        (name.into(), value.into())
    }

    /// What becomes of a block, in pieces of `size` bytes and as many frames.
    fn walked(walk: &mut FieldWalk, stream: u32, block: &[u8], size: usize) -> Vec<u8> {
        let mut block = block.to_vec();
        for (index, piece) in block.chunks_mut(size.max(1)).enumerate() {
            if index == 0 {
                walk.begin(stream, 0, piece.len());
            } else {
                walk.go_on(piece.len());
            }
            walk.walk(piece);
        }
        block
    }

    /// What becomes of one block on stream 1, before which there was one or none, however it is cut.
    fn spoiled(block: &[u8], is_trailers: bool) -> Vec<u8> {
        let of = |size| {
            let mut walk = FieldWalk::default();
            if is_trailers {
                walk.begin(1, 0, 0);
            }
            walked(&mut walk, 1, block, size)
        };
        let whole = of(block.len());
        for size in 1..block.len() {
            assert_eq!(of(size), whole, "in pieces of {size} bytes: {}", block.escape_ascii());
        }
        whole
    }

    fn decoded(block: &[u8]) -> Option<Vec<Field>> {
        Decoder::new().decode(block).ok()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]).to_le_bytes()[0]).collect()
    }

    /// Holds the table behind each block against its size and length in the examples.
    fn check_sizes(before: &[u8], blocks: [(&str, (usize, usize)); 3]) {
        for size in 1..=40 {
            let mut walk = FieldWalk::default();
            walked(&mut walk, 1, before, size);
            for (stream, (hex, expected)) in [3, 5, 7].into_iter().zip(blocks) {
                let block = bytes(hex);
                assert_eq!(walked(&mut walk, stream, &block, size), block, "nothing is wrong with {hex}");
                assert_eq!((walk.table.measure(), walk.step), (expected, Step::Field), "{hex}, {size} at a time");
            }
        }
    }

    #[test]
    fn the_table_is_as_large_as_in_the_examples_of_requests() {
        let plain = [
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", (57, 1)),
            ("8286 84be 5808 6e6f 2d63 6163 6865", (110, 2)),
            ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", (164, 3)),
        ];
        check_sizes(b"", plain);
        let coded = [
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", (57, 1)),
            ("8286 84be 5886 a8eb 1064 9cbf", (110, 2)),
            ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", (164, 3)),
        ];
        check_sizes(b"", coded);
    }

    #[test]
    fn the_table_is_as_large_as_in_the_examples_of_responses() {
        let to_256_bytes = b"\x3f\xe1\x01";
        let plain = [
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32
                 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                (222, 4),
            ),
            ("4803 3330 37c1 c0bf", (222, 4)),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970
                 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61
                 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
                (215, 3),
            ),
        ];
        check_sizes(to_256_bytes, plain);
        let coded = [
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
                 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                (222, 4),
            ),
            ("4883 640e ffc1 c0bf", (222, 4)),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
                 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                (215, 3),
            ),
        ];
        check_sizes(to_256_bytes, coded);
    }

    #[test]
    fn a_fragment_of_a_path_gets_what_no_path_has() {
        for path in ["#", "/#", "/#x", "/a?b#c", "/##a#"] {
            for form in forms() {
                let others = [field("referer", "/#"), field("x", "#")];
                let fields = [&[field(":path", path)], &others[..]].concat();
                let block = Encoder::new().blocks(&fields, form);
                let expected = [&[field(":path", &path.replace('#', ">"))], &others[..]].concat();
                assert_eq!(decoded(&spoiled(&block, false)), Some(expected), "{form:?}");
            }
        }
    }

    #[test]
    fn what_is_in_order_goes_on_as_it_came() {
        let fields = [field(":path", "/%23?a=b"), field(":authority", "a"), field("x", "#"), field("path", "/#")];
        let trailers = [field("x-sum", "1:#"), field("path", "/#"), field("grpc-status", "0")];
        for (fields, is_trailers) in [(&fields[..], false), (&trailers[..], true)] {
            for form in forms() {
                let block = Encoder::new().blocks(fields, form);
                assert_eq!(spoiled(&block, is_trailers), block, "{form:?}");
            }
        }
    }

    #[test]
    fn from_a_pseudo_field_on_nobody_reads_trailers() {
        for (name, value) in [(":path", "/"), (":path", ""), (":method", "GET"), (":status", "200"), (":x", "y")] {
            for form in forms() {
                for before in [&[][..], &[field("x-sum", "1")]] {
                    let harmless = Encoder::new().blocks(before, form);
                    let block = Encoder::new().blocks(&[before, &[field(name, value)]].concat(), form);
                    let spoiled = spoiled(&block, true);
                    assert_eq!(spoiled[..harmless.len()], harmless, "what stands before it");
                    assert!(decoded(&spoiled).is_none(), "{name} in {form:?}: {}", spoiled.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn the_table_tells_where_a_name_comes_from() {
        let mut walk = FieldWalk::default();
        let mut encoder = Encoder::new();
        let kept = Form { kind: KEPT, ..CODED };
        let filling = (0..70).map(|number| field(&format!("x{number}"), ""));
        let fields: Vec<Field> = [field(":path", "/a")].into_iter().chain(filling).collect();
        walked(&mut walk, 1, &encoder.blocks(&fields, kept), 100);
        let newest = Form { is_looked_up: (false, true), ..PLAIN };
        // Its number takes two bytes.
        let block = encoder.field(&field(":path", "/#"), newest);
        assert_eq!(walked(&mut walk, 3, &block, 1), block.iter().map(hash_to_spoilt).collect::<Vec<_>>());
        let block = encoder.field(&field("x0", "/#"), newest);
        assert_eq!(walked(&mut walk, 5, &block, 1), block, "a neighbour of it");
        let spoiled = walked(&mut walk, 5, &encoder.field(&field(":path", "/"), newest), 1);
        assert!(spoiled[1..].iter().all(|byte| *byte == SPOILT), "{spoiled:?}");
    }

    fn hash_to_spoilt(byte: &u8) -> u8 {
        if *byte == b'#' { SPOILT_HASH } else { *byte }
    }

    #[test]
    fn padding_and_priorities_are_no_part_of_a_block() {
        let block = Encoder::new().blocks(&[field(":path", "/#")], PLAIN);
        let expected = Encoder::new().blocks(&[field(":path", "/>")], PLAIN);
        let priority = [0, 0, 0, 9, 0x23];
        for (flags, before, after) in [
            (0, &[][..], &[][..]),
            (PADDED, &[3][..], b"\x84##"),
            (PRIORITY, &priority, b""),
            (PADDED | PRIORITY, &[&[2], &priority[..]].concat(), b"##"),
        ] {
            let payload = [before, &block, after].concat();
            for size in 1..payload.len() {
                let (mut walk, mut came) = (FieldWalk::default(), payload.clone());
                walk.begin(1, flags, came.len());
                came.chunks_mut(size).for_each(|piece| walk.walk(piece));
                assert_eq!(came, [before, &expected, after].concat(), "flags {flags}, {size} at a time");
            }
        }
    }

    #[test]
    fn behind_a_block_that_h2_skips_all_are_spoiled() {
        let mut walk = FieldWalk::default();
        let mut skipped = [&[0x80, 0, 0, 5, 0][..], &Encoder::new().blocks(&[field("x", "y")], CODED)].concat();
        walk.begin(5, PRIORITY, skipped.len());
        walk.walk(&mut skipped);
        let block = Encoder::new().blocks(&[field(":path", "/")], PLAIN);
        assert_eq!(walked(&mut walk, 7, &block, 2), vec![SPOILT; block.len()]);
    }

    #[test]
    fn what_no_decoder_takes_is_left_to_h2_and_what_follows_is_spoiled() {
        let endless = b"\x7f\x80\x80\x80\x80";
        let too_large = b"\x3f\xe2\x1f";
        for (unreadable, is_trailers) in
            [(&endless[..], false), (too_large, false), (b"\x80", true), (b"\xbe", true), (b"\x7e", false)]
        {
            let block = [unreadable, b"\x84#"].concat();
            assert_eq!(spoiled(&block, is_trailers), [unreadable, &[SPOILT; 2]].concat());
        }
    }

    impl Encoder {
        fn blocks(&mut self, fields: &[Field], form: Form) -> Vec<u8> {
            fields.iter().flat_map(|field| self.field(field, form)).collect()
        }
    }

    fn forms() -> Vec<Form> {
        let both = [false, true];
        let pairs = || both.into_iter().flat_map(move |first| both.map(|second| (first, second)));
        let kinds = [PLAIN.kind, KEPT, NEVER_KEPT];
        let of_pairs = |is_looked_up| pairs().map(move |is_coded| (is_looked_up, is_coded));
        let forms = pairs().flat_map(of_pairs);
        forms.flat_map(|(is_looked_up, is_coded)| kinds.map(|kind| Form { is_looked_up, is_coded, kind })).collect()
    }

    /// One block: whether it is of trailers, a new size of the table, and fields.
    type Block = (bool, Option<usize>, Vec<(Field, Form)>);

    fn any_block() -> impl Strategy<Value = Block> {
        let long = "long-name-".repeat(30);
        let names = vec![":path", ":method", "x", "path", ":paths", "cookie", "x-sum", "content-type"];
        let name = prop_oneof![9 => select(names).prop_map(str::to_owned), 1 => Just(long)];
        let value = prop_oneof!["[/#a:]{0,9}", "[/#a:]{300}", "\\PC{0,9}"];
        let one = (name, value).prop_map(|(name, value)| field(&name, &value));
        let size = proptest::option::weighted(0.2, prop_oneof![0usize..200, 0usize..=4096]);
        (proptest::bool::weighted(0.2), size, vec((one, select(forms())), 1..12))
    }

    /// A request: path and field, whether it is sent with trailers, and their name and form.
    type Request = (String, Field, Option<(&'static str, Form)>, Form);

    fn any_request() -> impl Strategy<Value = Request> {
        let path = prop_oneof![3 => "/[a?]{0,4}", 1 => "/[a?#]{0,4}"];
        let other = ("[a-d]{1,3}", "[#a:]{0,200}").prop_map(|(name, value)| field(&name, &value));
        let trailers = prop_oneof![6 => Just("x-sum"), 1 => Just(":path"), 1 => Just(":method")];
        let trailers = proptest::option::weighted(0.3, (trailers, select(forms())));
        (path, other, trailers, select(forms()))
    }

    /// The frames of a request's head, and those behind it, each block in fragments of `size` bytes.
    fn frames(encoder: &mut Encoder, stream: u32, request: &Request, size: usize) -> [Vec<u8>; 2] {
        let (path, other, trailers, form) = request;
        let head = [field(":method", "POST"), field(":scheme", "http"), field(":path", path), other.clone()];
        let head = block_frames(stream, trailers.is_none(), &encoder.blocks(&head, *form), size);
        let rest = trailers.as_ref().map_or_else(Vec::new, |(name, form)| {
            let trailers = encoder.blocks(&[field(name, "GET")], *form);
            [frame(0, 0, stream, b"hello"), block_frames(stream, true, &trailers, size)].concat()
        });
        [head, rest]
    }

    fn block_frames(stream: u32, is_last: bool, block: &[u8], size: usize) -> Vec<u8> {
        let count = block.len().div_ceil(size);
        let of = |(index, piece): (usize, &[u8])| {
            let end_headers = if index + 1 == count { 4 } else { 0 };
            match index {
                0 => frame(1, u8::from(is_last) | end_headers, stream, piece),
                _ => frame(9, end_headers, stream, piece),
            }
        };
        block.chunks(size).enumerate().flat_map(of).collect()
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// A server of h2 behind a meter.
    struct Server {
        meter: FrameMeter,
        client: DuplexStream,
        connection: h2::server::Connection<DuplexStream, Bytes>,
        /// Streams that would be reset if these were dropped.
        unanswered: Vec<h2::server::SendResponse<Bytes>>,
    }

    impl Server {
        fn new() -> Server {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, b"")[..]].concat();
            now(client.write_all(&begin)).unwrap().unwrap();
            let connection = now(h2::server::handshake(server)).unwrap().unwrap();
            Server { meter: FrameMeter::new(0, 10_000), client, connection, unanswered: Vec::new() }
        }

        /// Lets it read these bytes, which come in pieces, and gives what it makes of them: nothing, or a request.
        fn read(&mut self, mut bytes: Vec<u8>, size: usize) -> Option<http::Request<h2::RecvStream>> {
            for piece in bytes.chunks_mut(size) {
                let mut taken = 0;
                while taken < piece.len() {
                    self.meter.begin_turn();
                    taken += self.meter.look(&mut piece[taken..]).unwrap().taken;
                }
            }
            now(self.client.write_all(&bytes)).unwrap().unwrap();
            let (request, unanswered) = now(self.connection.accept())??.ok()?;
            self.unanswered.push(unanswered);
            Some(request)
        }
    }

    /// Whether all of it has come.
    fn is_whole(mut request: http::Request<h2::RecvStream>) -> bool {
        let body = request.body_mut();
        let data = now(body.data()).flatten().is_some_and(|piece| piece.is_ok_and(|piece| &*piece == b"hello"));
        data && matches!(now(body.data()), Some(None)) && matches!(now(body.trailers()), Some(Ok(Some(_))))
    }

    /// What is ready at once.
    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    proptest! {
        #[test]
        fn an_independent_decoder_reads_what_was_sent_but_for_what_is_spoiled(
            blocks in vec(any_block(), 1..12),
            size in 1usize..50,
        ) {
            let (mut encoder, mut walk) = (Encoder::new(), FieldWalk::default());
            let mut decoder = Decoder::new();
            walk.begin(1, 0, 0);
            for (stream, (is_trailers, max, fields)) in (3..).step_by(2).zip(blocks) {
                let stream = if is_trailers { 1 } else { stream };
                let mut block = max.map_or_else(Vec::new, |max| encoder.resize(max));
                block.extend(fields.iter().flat_map(|(field, form)| encoder.field(field, *form)));
                let came = decoder.decode(&walked(&mut walk, stream, &block, size));
                let fields = fields.into_iter().map(|(field, _)| field);
                if is_trailers && fields.clone().any(|(name, _)| name.starts_with(b":")) {
                    prop_assert!(came.is_err(), "{:?}", came);
                    break;
                }
                let replaced = |(name, value): Field| {
                    let is_path = name == b":path";
                    (name, value.iter().map(|byte| if is_path { hash_to_spoilt(byte) } else { *byte }).collect())
                };
                prop_assert_eq!(came.unwrap(), fields.map(replaced).collect::<Vec<Field>>());
                prop_assert_eq!(walk.table.measure(), (encoder.size(), encoder.table.len()));
            }
        }

        #[test]
        fn h2_serves_what_is_well_formed_and_nothing_else(
            requests in vec(any_request(), 1..20),
            (fragment, piece) in (1usize..400, 1usize..400),
        ) {
            let (mut encoder, mut server) = (Encoder::new(), Server::new());
            for (stream, request) in (1..).step_by(2).zip(requests) {
                let [head, rest] = frames(&mut encoder, stream, &request, fragment);
                let (path, _, trailers, _) = &request;
                let served = server.read(head, piece);
                let target = served.as_ref().map(|request| request.uri().to_string());
                prop_assert_eq!(target.as_ref(), Some(path).filter(|path| !path.contains('#')));
                let Some((name, _)) = trailers else { continue };
                server.read(rest, piece);
                let is_well_formed = !name.starts_with(':');
                if let Some(served) = served {
                    prop_assert_eq!(is_whole(served), is_well_formed, "{:?}", request);
                }
                let is_over = matches!(now(server.connection.accept()), Some(None | Some(Err(_))));
                prop_assert_eq!(is_over, !is_well_formed, "the connection ends: {:?}", request);
                if is_over {
                    break;
                }
            }
        }

        #[test]
        fn whatever_comes_is_taken_and_pieces_make_no_difference(
            blocks in vec((any::<bool>(), any::<u8>(), vec(any::<u8>(), 1..80)), 1..9),
            size in 1usize..9,
        ) {
            let taken = |size: usize| {
                let mut walk = FieldWalk::default();
                let mut all = Vec::new();
                for (number, (is_new, flags, payload)) in (0u32..).zip(&blocks) {
                    let mut payload = payload.clone();
                    if *is_new {
                        walk.begin(number / 2, *flags, payload.len());
                    } else {
                        walk.go_on(payload.len());
                    }
                    payload.chunks_mut(size).for_each(|piece| walk.walk(piece));
                    all.push(payload);
                }
                (all, walk.table.measure())
            };
            prop_assert_eq!(taken(size), taken(1000));
        }
    }
}
