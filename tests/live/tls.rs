//! TLS from outside: no protocol and no cipher that is weak, as `sslscan` sees it.

use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use rcgen::CertifiedKey;
use std::process::Command;

/// A proxy that speaks TLS, with these settings of it.
pub(crate) fn serve(story: &Story, tls: &str) -> Ringway {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let certificate = story.write("site.pem", &cert.pem());
    let key = story.write("site.key", &signing_key.serialize_pem());
    let (certificate, key) = (certificate.display(), key.display());
    let top =
        format!("workers = 2\n[tls]\n{tls}\n[[tls.certificate]]\ncertificate = \"{certificate}\"\nkey = \"{key}\"");
    let text = ringway::config(&top, &story.path("store"), "nodes = [{ name = \"a\", address = \"127.0.0.1:9\" }]");
    let listen = "listen = { address = \"127.0.0.1:0\", tls = true }";
    let config = story.write("ringway.toml", &text.replacen("listen = \"127.0.0.1:0\"", listen, 1));
    Ringway::serve(story, &config)
}

#[test]
fn no_protocol_and_no_cipher_is_weak() {
    let story = Story::begin("tls");
    let proxy = serve(&story, "");
    let scanned = Command::new("sslscan").args(["--no-colour", &proxy.http.to_string()]).output().unwrap();
    let report = String::from_utf8(scanned.stdout).unwrap();
    for (protocol, expected) in [
        ("SSLv2", "disabled"),
        ("SSLv3", "disabled"),
        ("TLSv1.0", "disabled"),
        ("TLSv1.1", "disabled"),
        ("TLSv1.2", "enabled"),
        ("TLSv1.3", "enabled"),
    ] {
        let is_of = |line: &&str| line.split_whitespace().next() == Some(protocol);
        let line = report.lines().find(is_of).unwrap_or_else(|| panic!("nothing on {protocol}: {report}"));
        assert!(line.ends_with(expected), "{line}: {report}");
    }
    let is_cipher = |line: &&str| line.starts_with("Preferred") || line.starts_with("Accepted");
    let ciphers: Vec<&str> = report.lines().filter(is_cipher).collect();
    assert!(ciphers.len() >= 5, "{report}");
    for cipher in &ciphers {
        let name = cipher.split_whitespace().find(|word| word.starts_with("TLS_") || word.contains("-"));
        let name = name.unwrap_or_else(|| panic!("{cipher:?} names none"));
        let has_forward_secrecy = name.starts_with("TLS_") || name.starts_with("ECDHE-");
        let is_authenticated = name.contains("GCM") || name.contains("CHACHA20");
        assert!(has_forward_secrecy && is_authenticated, "{cipher}");
    }
    story.figure(&format!("{} ciphers of TLS 1.2 and 1.3, none weak", ciphers.len()));
}
