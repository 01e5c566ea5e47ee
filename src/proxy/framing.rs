//! How long a body is, said in one way that every recipient reads alike: RFC 9112 section 6, RFC 9110 section 8.6.
//!
//! hyper finds the end of each message that it receives by these rules, but leaves in the head what it did not go by.
//! The next recipient might go by that, and take the rest of a body for another message.

use crate::proxy::headers::Presence;
use crate::proxy::headers::Survey;
use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use http_body::Body;
use hyper::body::Incoming;

/// Why nobody can say where a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unclear {
    /// There is another transfer coding than one `chunked`, which would be taken off or left on without the next
    /// recipient being told.
    Coding,
    /// `Content-Length` is no number, or several numbers.
    Length,
}

/// Makes the head of a request say once how long its body is. Chunks count rather than a length beside them (RFC 9112
/// section 6.3).
pub(crate) fn settle_request(headers: &mut HeaderMap, found: Survey) -> Result<(), Unclear> {
    if found.transfer_encoding && !is_chunked(headers) {
        return Err(Unclear::Coding);
    }
    if found.transfer_encoding && found.content_length.is_any() {
        headers.remove(header::CONTENT_LENGTH);
        return Ok(());
    }
    if found.content_length == Presence::Other {
        settle_length(headers)?;
    }
    Ok(())
}

/// The same for that of a response; one with 204 has no length (RFC 9110 section 8.6).
pub(crate) fn settle_response(headers: &mut HeaderMap, found: Survey, status: StatusCode) -> Result<(), Unclear> {
    settle_request(headers, found)?;
    if status == StatusCode::NO_CONTENT || status.is_informational() {
        headers.remove(header::CONTENT_LENGTH);
    }
    Ok(())
}

/// Whether a body that seems to have ended has not. hyper takes RST_STREAM with NO_ERROR for an end, which is for who
/// has sent everything and wants no more (RFC 9113 section 8.1), but nobody has to mean that.
pub(crate) fn is_cut_short(body: &Incoming, is_http2: bool) -> bool {
    is_http2 && !body.is_end_stream()
}

/// Whether the only transfer coding is one `chunked`.
fn is_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    codings.next().is_some_and(is_chunked) && codings.next().is_none()
}

/// Leaves one decimal number. A list of equal ones counts as that number, as RFC 9110 section 8.6 permits.
fn settle_length(headers: &mut HeaderMap) -> Result<(), Unclear> {
    let length = length_of(headers).ok_or(Unclear::Length)?;
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(())
}

/// The number that all values are.
fn length_of(headers: &HeaderMap) -> Option<u64> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for number in value.as_bytes().split(|byte| *byte == b',') {
            let digits = std::str::from_utf8(number.trim_ascii()).ok()?;
            // The parser would take a sign.
            let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()?;
            if length.replace(number).is_some_and(|before| before != number) {
                return None;
            }
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn map(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn settled(headers: &mut HeaderMap) -> Result<(), Unclear> {
        let found = Survey::of(headers);
        settle_request(headers, found)
    }

    #[test]
    fn one_chunked_is_the_only_transfer_coding() {
        for (codings, expected) in [
            (&["Chunked"][..], Ok(())),
            (&["\tchunked "], Ok(())),
            (&["gzip, chunked"], Err(Unclear::Coding)),
            (&["chunked, chunked"], Err(Unclear::Coding)),
            (&["chunked", "chunked"], Err(Unclear::Coding)),
            (&["\u{a0}chunked"], Err(Unclear::Coding)),
            (&["identity"], Err(Unclear::Coding)),
            (&[""], Err(Unclear::Coding)),
        ] {
            assert_eq!(settled(&mut map(&header::TRANSFER_ENCODING, codings)), expected, "{codings:?}");
        }
    }

    #[test]
    fn a_length_is_one_number() {
        for (values, expected) in [
            (&["0"][..], "0"),
            (&["42"], "42"),
            (&["042"], "42"),
            (&["5, 5", "5"], "5"),
            (&[" 5\t"], "5"),
            (&["18446744073709551615"], "18446744073709551615"),
        ] {
            let mut headers = map(&header::CONTENT_LENGTH, values);
            assert_eq!(settled(&mut headers), Ok(()), "{values:?}");
            assert_eq!(headers.get_all(header::CONTENT_LENGTH).iter().collect::<Vec<_>>(), [expected], "{values:?}");
        }
    }

    #[test]
    fn what_is_no_length_or_more_than_one_is_unclear() {
        for values in [
            &["+5"][..],
            &["-5"],
            &["0x5"],
            &["5 5"],
            &["5;x"],
            &["5.0"],
            &["5_0"],
            &[""],
            &["5,"],
            &["5, 6"],
            &["18446744073709551621"],
            &["\u{b2}"],
            &["5", "6"],
            &["", "5"],
        ] {
            assert_eq!(settled(&mut map(&header::CONTENT_LENGTH, values)), Err(Unclear::Length), "{values:?}");
        }
    }

    #[test]
    fn chunks_count_and_a_length_beside_them_goes() {
        let mut headers = map(&header::TRANSFER_ENCODING, &["chunked"]);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("zz"));
        assert_eq!(settled(&mut headers), Ok(()));
        assert!(!headers.contains_key(header::CONTENT_LENGTH), "{headers:?}");
    }

    #[test]
    fn a_response_that_can_have_no_body_says_no_length() {
        for (status, expected) in [(204, None), (101, None), (304, Some("5")), (200, Some("5"))] {
            let mut headers = map(&header::CONTENT_LENGTH, &["5"]);
            let found = Survey::of(&headers);
            let settled = settle_response(&mut headers, found, StatusCode::from_u16(status).unwrap());
            let length = headers.get(header::CONTENT_LENGTH).map(|length| length.to_str().unwrap());
            assert_eq!((settled, length), (Ok(()), expected), "{status}");
        }
    }
}
