//! `Via` (RFC 9110 section 7.6.3): how this process names itself on what it passes on, and by which it knows requests
//! that it has passed on before.

use http::HeaderMap;
use http::HeaderValue;
use http::Version;
use http::header;

/// The pseudonym of a process, which is another one for each, so that one Ringway may stand behind another.
pub struct Via {
    name: String,
    of_1_0: HeaderValue,
    of_1_1: HeaderValue,
    of_2: HeaderValue,
}

impl Via {
    /// The names of the process with this number, which is to be drawn at random. Each worker makes its own, so that
    /// they do not share the counters of who holds the values.
    pub fn new(instance: u64) -> Via {
        let name = format!("ringway-{instance:016x}");
        let value = |version| {
            let value = HeaderValue::try_from(format!("{version} {name}"));
            value.expect("the pseudonym is visible ASCII")
        };
        Via { of_1_0: value("1.0"), of_1_1: value("1.1"), of_2: value("2.0"), name }
    }

    /// Appends this process, with the version in which the message was received.
    pub fn add(&self, headers: &mut HeaderMap, received: Version) {
        let value = match received {
            Version::HTTP_10 => &self.of_1_0,
            Version::HTTP_2 => &self.of_2,
            _ => &self.of_1_1,
        };
        headers.append(header::VIA, value.clone());
    }

    /// Whether this process has passed the message on before. Nobody else has a name that holds this one.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let name = self.name.as_bytes();
        let holds = |value: &HeaderValue| value.as_bytes().windows(name.len()).any(|part| part == name);
        headers.get_all(header::VIA).iter().any(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_among_others() {
        let (via, other) = (Via::new(7), Via::new(8));
        let mut headers = HeaderMap::new();
        assert!(!via.is_in(&headers));
        headers.insert(header::VIA, HeaderValue::from_static("1.1 ringway, 1.0 cache (ringway-7)"));
        other.add(&mut headers, Version::HTTP_2);
        assert!(!via.is_in(&headers) && other.is_in(&headers), "{headers:?}");
        via.add(&mut headers, Version::HTTP_10);
        assert!(via.is_in(&headers), "{headers:?}");
        let values: Vec<&HeaderValue> = headers.get_all(header::VIA).iter().skip(1).collect();
        assert_eq!(values, ["2.0 ringway-0000000000000008", "1.0 ringway-0000000000000007"]);
        let joined = HeaderValue::from_static("1.1 a,1.1 ringway-0000000000000007 (x, y) ,1.1 b");
        assert!(via.is_in(&HeaderMap::from_iter([(header::VIA, joined)])));
    }
}
