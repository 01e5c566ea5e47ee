//! Who the nodes are: membership as a fold of events.

pub mod health;
pub mod log;
pub mod membership;
pub mod networks;
pub mod node;
pub mod refusal;
