//! The operations, by what they are about; each says in its annotation what it takes and answers.

pub(crate) mod keys;
pub(crate) mod membership;
pub(crate) mod news;
pub(crate) mod nodes;
pub(crate) mod pools;
pub(crate) mod process;
pub(crate) mod ring;
