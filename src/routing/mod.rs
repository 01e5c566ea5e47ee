//! What to do with one request, as pure decisions.

pub mod attempts;
pub mod body_search;
pub mod bound;
pub mod json_pointer;
pub mod json_reader;
pub mod key;
pub mod pool_match;
pub mod source;
pub mod window;
