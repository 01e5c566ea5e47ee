//! Finds the key of a request in the beginning of its body, before a node is chosen.

use crate::proxy::error::ProxyError;
use crate::proxy::request_body::ClientBody;
use crate::proxy::settings::KeyBodyOver;
use crate::proxy::settings::PoolSettings;
use crate::routing::body_search::BodySearch;
use crate::routing::body_search::Sought;
use crate::routing::key::Key;

/// Reads as much of the body as it takes to know its key; what was read is held until it is sent.
pub(crate) async fn find(
    search: &mut BodySearch,
    body: &ClientBody,
    settings: &PoolSettings,
) -> Result<Option<Key<'static>>, ProxyError> {
    loop {
        let Some(piece) = body.read_ahead().await? else {
            return Ok(search.end());
        };
        match search.feed(&piece) {
            Sought::Absent => return Ok(None),
            Sought::Found(key) => return Ok(Some(key)),
            Sought::NeedMore => {}
            Sought::TooLarge => {
                return match settings.key_body_over {
                    KeyBodyOver::Absent => Ok(search.give_up()),
                    KeyBodyOver::Reject => Err(ProxyError::KeyBodyTooLarge { max: settings.max_key_body }),
                };
            }
        }
    }
}
