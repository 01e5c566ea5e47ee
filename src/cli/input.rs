//! Opens what a verb is told to read: a file, or standard input for `-`.

use crate::cli::failure::Failure;
use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;

/// Opens a file, or standard input for `-`. What a compressor made is refused, because its bytes are no lines.
pub(super) fn open(path: &str) -> Result<Box<dyn BufRead>, Failure> {
    if path == "-" {
        return buffered(path, io::stdin().lock());
    }
    buffered(path, File::open(path).map_err(|error| unreadable(path, &error))?)
}

fn buffered(path: &str, input: impl Read + 'static) -> Result<Box<dyn BufRead>, Failure> {
    let mut input = Box::new(BufReader::with_capacity(BUFFER_BYTES, input));
    let begins_with = input.fill_buf().map_err(|error| unreadable(path, &error))?;
    match COMPRESSORS.iter().find(|(magic, _)| begins_with.starts_with(magic)) {
        Some((_, reader)) if path == "-" => {
            Err(Failure::Usage(format!("standard input is compressed; pipe it through `{reader}` first")))
        }
        Some((_, reader)) => Err(Failure::Usage(format!(
            "{path} is compressed; pipe what `{reader} {path}` makes of it to standard input, and write - for the file"
        ))),
        None => Ok(input),
    }
}

/// What to call it.
pub(super) fn name(path: &str) -> &str {
    if path == "-" { "standard input" } else { path }
}

/// The failure of reading it.
pub(super) fn unreadable(path: &str, error: &io::Error) -> Failure {
    Failure::Usage(format!("cannot read {}: {error}", name(path)))
}

const BUFFER_BYTES: usize = 256 << 10;

/// How compressed files begin, and what reads them.
const COMPRESSORS: [(&[u8], &str); 4] =
    [(b"\x1f\x8b", "zcat"), (b"BZh", "bzcat"), (b"\xfd7zXZ\0", "xzcat"), (b"\x28\xb5\x2f\xfd", "zstdcat")];
