//! Who a certificate says that its holder is, as text for people and logs.

use crate::section::printable;
use rustls::pki_types::CertificateDer;
use std::fmt::Write;
use webpki::EndEntityCert;

/// The subject of a certificate, such as `CN=alice,O=Example`, written as RFC 4514 does; where that is empty, the first
/// host or URI that the certificate is for. It is fit for terminals and logs, and not cut where it could be taken for
/// another one that a CA would issue: what is too long ends with `...`.
pub fn of(certificate: &CertificateDer<'_>) -> String {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return UNNAMED.to_owned() };
    let name = distinguished_name(certificate.subject());
    let other = || certificate.valid_dns_names().chain(certificate.valid_uri_names()).next().map(str::to_owned);
    let name = Some(name).filter(|name| !name.is_empty()).or_else(other).unwrap_or_else(|| UNNAMED.to_owned());
    let shown = printable(&name, SUBJECT_CHARS_MAX);
    if name.chars().nth(SUBJECT_CHARS_MAX).is_some() { shown + "..." } else { shown }
}

/// The attributes of an X.501 name, given without its outer tag, the last one first (RFC 4514 section 2.1).
fn distinguished_name(der: &[u8]) -> String {
    let attributes = Values(der).flat_map(|(_, set)| Values(set)).filter_map(|(_, attribute)| {
        let mut parts = Values(attribute);
        let ((_, kind), (tag, value)) = (parts.next()?, parts.next()?);
        Some(format!("{}={}", kind_name(kind), escaped(&text(tag, value))))
    });
    let mut attributes: Vec<String> = attributes.collect();
    attributes.reverse();
    attributes.join(",")
}

/// One value of DER after another: its tag and what is in it. Ends at what is none.
struct Values<'a>(&'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let [tag, length, rest @ ..] = self.0 else { return None };
        let (length, rest) = match usize::from(*length) {
            short @ 0..0x80 => (short, rest),
            long => {
                let (bytes, rest) = rest.split_at_checked(long - 0x80).filter(|(bytes, _)| bytes.len() <= 4)?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, value))
    }
}

/// What RFC 4514 section 3 calls a type of attribute; the numbers of any other.
fn kind_name(oid: &[u8]) -> String {
    match KINDS.iter().find(|(known, _)| *known == oid) {
        Some((_, name)) => (*name).to_owned(),
        None => dotted(oid),
    }
}

fn dotted(oid: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number: u64 = 0;
    for byte in oid {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    let Some(first) = numbers.first().copied() else { return String::new() };
    let root = (first / 40).min(2);
    let mut text = format!("{root}.{}", first - root * 40);
    for number in &numbers[1..] {
        write!(text, ".{number}").expect("writing to a string");
    }
    text
}

/// A string of ASN.1: nearly all are UTF-8 or a subset of that.
fn text(tag: u8, value: &[u8]) -> String {
    if tag != BMP_STRING {
        return String::from_utf8_lossy(value).into_owned();
    }
    let units: Vec<u16> = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    String::from_utf16_lossy(&units)
}

/// A value that cannot be taken for the begin of another attribute (RFC 4514 section 2.4).
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// Types of attributes, as they are encoded.
const KINDS: [(&[u8], &str); 11] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// The tag of a string of UTF-16.
const BMP_STRING: u8 = 0x1e;

/// Most characters of a subject that are shown.
const SUBJECT_CHARS_MAX: usize = 256;

const UNNAMED: &str = "a certificate without a name";

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::CertificateParams;
    use rcgen::DnType;
    use rcgen::DnValue;
    use rcgen::KeyPair;

    fn issued(names: &[&str], attributes: Vec<(DnType, DnValue)>) -> String {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        attributes.into_iter().for_each(|(kind, value)| params.distinguished_name.push(kind, value));
        of(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    fn utf8(value: &str) -> DnValue {
        DnValue::Utf8String(value.to_owned())
    }

    #[test]
    fn a_subject_is_written_as_text_the_last_attribute_first() {
        let other = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99_999, 1]);
        for (attributes, expected) in [
            (
                vec![(DnType::OrganizationName, utf8("Example")), (DnType::CommonName, utf8("alice"))],
                "CN=alice,O=Example",
            ),
            (vec![(DnType::CommonName, utf8("Zoë, \"ops\";O=root+1"))], "CN=Zoë\\, \\\"ops\\\"\\;O=root\\+1"),
            (vec![(DnType::CommonName, utf8("a\u{1b}[31m\nb\u{202e}"))], "CN=a\\u{1b}[31m\\nb\\u{202e}"),
            (vec![(DnType::CommonName, DnValue::BmpString("bmp é".try_into().unwrap()))], "CN=bmp é"),
            (vec![(other, utf8("x"))], "1.3.6.1.4.1.99999.1=x"),
        ] {
            assert_eq!(issued(&["a.test"], attributes), expected);
        }
    }

    #[test]
    fn without_a_subject_the_first_name_counts() {
        assert_eq!(issued(&["a.test", "b.test"], Vec::new()), "a.test");
        assert_eq!(issued(&[], Vec::new()), UNNAMED);
        assert_eq!(of(&CertificateDer::from(vec![0x30, 0])), UNNAMED);
    }

    #[test]
    fn a_long_subject_shows_that_it_is_cut() {
        let name = "x".repeat(SUBJECT_CHARS_MAX);
        let shown = issued(&[], vec![(DnType::CommonName, utf8(&name))]);
        assert_eq!(shown, format!("CN={}...", &name[3..]));
    }

    #[test]
    fn what_is_no_der_ends_the_list() {
        for der in
            [&[][..], &[0x31], &[0x31, 5, 0], &[0x31, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x31, 0x89], &[0x31, 0x80]]
        {
            assert_eq!(distinguished_name(der), "", "{der:?}");
        }
    }
}
