//! Whether a pool puts keys where another program put them, judged by what that program logged.
//!
//! [`tally::Tally`] compares line by line and remembers a bounded number of keys; [`fit::Fits`] then looks for the
//! placement that explains best where those keys were.

pub mod fit;
pub mod request_line;
pub mod sample;
pub mod tally;
pub mod trial;
pub mod upstreams;
pub mod written_rule;
