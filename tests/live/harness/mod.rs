//! What every story needs: the programs it runs, a client, and a way to wait.

pub(crate) mod client;
pub(crate) mod echo;
pub(crate) mod imported;
pub(crate) mod load;
pub(crate) mod names;
pub(crate) mod nginx;
pub(crate) mod open_request;
pub(crate) mod originals;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod ringway;
pub(crate) mod story;
pub(crate) mod wait;
pub(crate) mod wrk;
