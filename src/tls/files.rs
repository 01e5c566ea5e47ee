//! Reads certificates, keys and CAs from PEM files (RFC 7468), and says what is wrong with which.

use crate::tls::provider;
use crate::tls::settings::CertificateFiles;
use rustls::Error;
use rustls::InconsistentKeys;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// What is wrong with a file. It tells nothing of what is in a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{file}` {why}")]
pub struct TlsError {
    /// What the file is for, such as `the key`.
    pub what: &'static str,
    /// As the config names it.
    pub file: String,
    /// What is wrong, and what it should be.
    pub why: String,
}

/// Reads files, and remembers what was in them as a digest: what is the same again need not be made anew.
#[derive(Default)]
pub(super) struct Files {
    digest: Xxh3,
}

impl Files {
    /// The digest of all that was read.
    pub(super) fn digest(&self) -> u128 {
        self.digest.digest128()
    }

    /// Some certificates with the key of the first one.
    pub(super) fn certified_key(&mut self, files: &CertificateFiles) -> Result<CertifiedKey, TlsError> {
        let wrong = |what, file: &String, why: String| TlsError { what, file: file.clone(), why };
        let chain = self.certificates(CERTIFICATE, &files.certificate)?;
        let text = self.read(KEY, &files.key)?;
        // What the parser says could be a line of the key.
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| wrong(KEY, &files.key, NO_KEY.to_owned()))?;
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                wrong(KEY, &files.key, format!("is not that of the certificate `{}`", files.certificate))
            }
            Error::InvalidCertificate(why) => wrong(CERTIFICATE, &files.certificate, format!("is invalid: {why}")),
            _ => wrong(KEY, &files.key, "is of no kind that can be used; use RSA, ECDSA or Ed25519".to_owned()),
        })
    }

    /// The CAs of a file, at least one.
    pub(super) fn roots(&mut self, file: &str) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(CA, file)? {
            roots.add(certificate).map_err(|error| TlsError {
                what: CA,
                file: file.to_owned(),
                why: format!("has a certificate that is none of a CA: {error}"),
            })?;
        }
        Ok(roots)
    }

    /// The CAs that the system trusts. What cannot be read of some is left out, as others leave it out.
    pub(super) fn system_roots(&mut self) -> Result<RootCertStore, TlsError> {
        let file = SYSTEM_CAS.into_iter().find(|file| Path::new(file).exists()).unwrap_or(SYSTEM_CAS[0]);
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.certificates(CA, file)?);
        if roots.is_empty() {
            let why = "has no certificate of a CA".to_owned();
            return Err(TlsError { what: CA, file: file.to_owned(), why });
        }
        Ok(roots)
    }

    fn certificates(&mut self, what: &'static str, file: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = self.read(what, file)?;
        let wrong = |why: String| TlsError { what, file: file.to_owned(), why };
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let found = found.map_err(|error| wrong(format!("is not PEM: {error}")))?;
        if found.is_empty() {
            return Err(wrong("has no certificate; one begins with `-----BEGIN CERTIFICATE-----`".to_owned()));
        }
        Ok(found)
    }

    fn read(&mut self, what: &'static str, file: &str) -> Result<Vec<u8>, TlsError> {
        let wrong = |why: String| TlsError { what, file: file.to_owned(), why };
        let mut text = Vec::new();
        let opened = File::open(file).and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut text));
        opened.map_err(|error| wrong(format!("cannot be read: {error}")))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(wrong(format!("has more than {FILE_BYTES_MAX} bytes, too many for PEM certificates")));
        }
        self.digest.update(&(text.len() as u64).to_le_bytes());
        self.digest.update(&text);
        Ok(text)
    }
}

/// Where systems keep the CAs that they trust: Debian and its heirs, Fedora and its heirs, openSUSE, Alpine.
const SYSTEM_CAS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const CERTIFICATE: &str = "the certificate";
const KEY: &str = "the key";
const CA: &str = "the CA";
const NO_KEY: &str = "has no private key that is not encrypted; one begins with `-----BEGIN PRIVATE KEY-----`, \
                      `-----BEGIN EC PRIVATE KEY-----` or `-----BEGIN RSA PRIVATE KEY-----`";

/// Several times the CAs that systems trust.
const FILE_BYTES_MAX: u64 = 4 << 20;
