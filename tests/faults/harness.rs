//! What is shared with the live tests: programs, the binary under test, and a way to wait.

#![allow(dead_code, reason = "the live tests use all of it")]

#[path = "../live/harness/client.rs"]
pub(crate) mod client;
#[path = "../live/harness/process.rs"]
pub(crate) mod process;
#[path = "../live/harness/ringway.rs"]
pub(crate) mod ringway;
#[path = "../live/harness/story.rs"]
pub(crate) mod story;
#[path = "../live/harness/wait.rs"]
pub(crate) mod wait;
