//! TLS: what the config says of it, the files that it names, and what rustls makes of both.
//!
//! Files are read when a config is, all of them before anything is put to use. What was made of a file that is missing,
//! empty or wrong is an error and never less protection.

mod files;
pub mod node;
pub mod server;
pub mod settings;
pub mod subject;

pub use files::TlsError;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring;
use std::sync::Arc;

/// The ciphers of ring, none of which is without authenticated encryption and forward secrecy.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
