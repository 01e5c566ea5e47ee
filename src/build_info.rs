//! What this program was built from; `build.rs` finds it out.

/// The commit of the sources, ten hexadecimal digits, with a `+` where they were edited since; `unknown` in debug
/// builds, and without a repository.
pub const COMMIT: &str = env!("RINGWAY_COMMIT");

/// The version of the compiler, such as `1.95.0`.
pub const RUSTC: &str = env!("RINGWAY_RUSTC");

/// All of it for people: `0.1.0 (abc1234def 2026-11-27, rustc 1.95.0)`.
pub const LONG_VERSION: &str = env!("RINGWAY_LONG_VERSION");
