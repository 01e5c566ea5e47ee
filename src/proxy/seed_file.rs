//! `seed-file`: the file with the secret that a pool's keys are hashed with.

use crate::placement::seed::Seed;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

/// A file that was read, and the seed in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedFile {
    /// As the config names it.
    pub path: String,
    /// What it holds.
    pub seed: Seed,
    /// Whether every user of the machine may read it.
    pub is_open: bool,
}

impl SeedFile {
    /// Reads the file at `path`. The error is a sentence for the user, without anything that was read.
    pub(super) fn read(path: &str) -> Result<SeedFile, String> {
        let unreadable = |error| format!("cannot read the seed file `{path}`: {error}");
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
        let seed = Seed::parse(&text).map_err(|why| format!("`{path}`: {why}"))?;
        Ok(SeedFile { path: path.to_owned(), seed, is_open: mode & OTHERS_READ != 0 })
    }

    /// What the operator should know, about the file of pool `pool`.
    pub fn warning(&self, pool: &str) -> Option<String> {
        let path = &self.path;
        let warning = || {
            format!(
                "pool {pool}: every user of this machine can read the seed file `{path}`; `chmod o-r {path}` hides it"
            )
        };
        self.is_open.then(warning)
    }
}

/// More than any seed has, white space included; what is longer is none.
const BYTES_MAX: u64 = 1024;

/// The bit of a file's mode by which all may read it.
const OTHERS_READ: u32 = 0o004;
