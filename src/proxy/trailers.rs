//! Which trailers go further: RFC 9110 section 6.5.
//!
//! They come after everything that could be checked has been, and programs that merge them into the head are misled by
//! them, so that they are only passed on where somebody wants them.

use crate::metrics::limit::Limit;
use crate::metrics::limit::LimitHits;
use crate::proxy::headers;
use crate::proxy::headers::Survey;
use crate::proxy::limits::Limits;
use http::HeaderMap;
use http::header;

/// What becomes of the trailers of a pool's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailerPolicy {
    /// They go no further, but for those of gRPC.
    Drop,
    /// They are passed on, but for what belongs into heads.
    Pass,
}

impl TrailerPolicy {
    /// Reads the word of the config. The error is a sentence for the user.
    pub(super) fn parse(word: &str) -> Result<TrailerPolicy, String> {
        match word {
            "drop" => Ok(TrailerPolicy::Drop),
            "pass" => Ok(TrailerPolicy::Pass),
            _ => Err(format!("unknown `trailers` policy `{word}`; write \"drop\" or \"pass\"")),
        }
    }

    /// The word of the config.
    pub(super) fn name(self) -> &'static str {
        match self {
            TrailerPolicy::Drop => "drop",
            TrailerPolicy::Pass => "pass",
        }
    }
}

/// Which trailers of one message go further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrailerTerms {
    /// Those of gRPC, whose result they are: as many as a head may have fields.
    Grpc,
    /// None.
    Never,
    /// Up to so many fields of so many bytes; more are dropped together.
    UpTo { fields: usize, bytes: usize },
}

impl TrailerTerms {
    /// Those of a message with this head, which may be of a call of gRPC only where both the client and the node speak
    /// HTTP/2, whatever it says of itself. Where there will be none, none are announced.
    pub(crate) fn settle(head: &mut HeaderMap, found: Survey, limits: &Limits, may_be_call: bool) -> TrailerTerms {
        if may_be_call && found.content_type && is_grpc(head) {
            return TrailerTerms::Grpc;
        }
        match limits.trailers {
            TrailerPolicy::Pass => TrailerTerms::UpTo { fields: limits.max_trailers, bytes: limits.max_trailer_bytes },
            TrailerPolicy::Drop => {
                if found.trailer {
                    head.remove(header::TRAILER);
                }
                TrailerTerms::Never
            }
        }
    }

    /// What nodes get of these; that they are too many is counted. Names with `_`, which some nodes take for `-`, never
    /// pass.
    pub(crate) fn pass_to_node(self, trailers: HeaderMap, hits: &LimitHits) -> Option<HeaderMap> {
        let mut passed = self.pass_to_client(trailers, hits)?;
        headers::strip_underscored(&mut passed);
        Some(passed)
    }

    /// What clients get of these; that they are too many is counted.
    pub(crate) fn pass_to_client(self, mut trailers: HeaderMap, hits: &LimitHits) -> Option<HeaderMap> {
        match self {
            TrailerTerms::Never => return None,
            TrailerTerms::UpTo { fields, bytes } => {
                let size: usize = trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
                let is_too_many = trailers.len() > fields;
                if is_too_many || size > bytes {
                    hits.hit(if is_too_many { Limit::MaxTrailers } else { Limit::MaxTrailerBytes });
                    return None;
                }
            }
            TrailerTerms::Grpc => {}
        }
        headers::filter_trailers(&mut trailers);
        Some(trailers)
    }
}

/// Whether a message is one of gRPC, by its content type: `application/grpc`, with or without a format behind `+` or
/// parameters (gRPC over HTTP/2). `application/grpc-web` is another protocol, whose trailers are in the body.
pub(crate) fn is_grpc(head: &HeaderMap) -> bool {
    let rest = head.get(header::CONTENT_TYPE).and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use http::HeaderValue;

    fn trailers(names: &[&'static str]) -> HeaderMap {
        let field = |name: &&'static str| (HeaderName::from_static(name), HeaderValue::from_static("1"));
        names.iter().map(field).collect()
    }

    fn names(passed: Option<HeaderMap>) -> Option<Vec<String>> {
        Some(passed?.keys().map(ToString::to_string).collect())
    }

    #[test]
    fn grpc_is_known_by_its_whole_content_type() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("text/application/grpc", false),
        ] {
            let head = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_grpc(&head), expected, "{kind}");
        }
    }

    #[test]
    fn they_are_counted_in_fields_and_bytes() {
        let (given, hits) = (trailers(&["x-a", "x-b"]), LimitHits::default());
        for (fields, bytes, is_passed) in [(2, 8, true), (1, 8, false), (2, 7, false)] {
            let passed = TrailerTerms::UpTo { fields, bytes }.pass_to_client(given.clone(), &hits);
            assert_eq!(passed.is_some(), is_passed, "{fields} fields, {bytes} bytes: {passed:?}");
        }
        assert_eq!(TrailerTerms::Never.pass_to_client(given.clone(), &hits), None);
        assert_eq!(TrailerTerms::Grpc.pass_to_client(given, &hits).map(|passed| passed.len()), Some(2));
        assert_eq!([Limit::MaxTrailers, Limit::MaxTrailerBytes].map(|limit| hits.of(limit).get()), [1, 1]);
    }

    #[test]
    fn what_heads_are_stripped_of_does_not_come_behind_them() {
        let given = trailers(&["x-sum", "x_auth_user", "x-ringway-node", "content-length", "x-forwarded-for"]);
        for terms in [TrailerTerms::UpTo { fields: 16, bytes: 4096 }, TrailerTerms::Grpc] {
            assert_eq!(
                names(terms.pass_to_node(given.clone(), &LimitHits::default())),
                Some(vec!["x-sum".to_owned()]),
                "{terms:?}"
            );
            // Underscores mislead nodes, not clients, and metadata of gRPC may have them.
            let passed = names(terms.pass_to_client(given.clone(), &LimitHits::default())).unwrap_or_default();
            assert_eq!(passed, ["x-sum", "x_auth_user"], "{terms:?}");
        }
    }
}
