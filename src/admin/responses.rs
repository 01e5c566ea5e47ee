//! The problems that operations document: named sets of kinds, so that a description never drifts from the answer.

use crate::admin::problem::Kind;
use crate::admin::problem::PROBLEM_TYPE;
use std::collections::BTreeMap;
use utoipa::IntoResponses;
use utoipa::openapi::ContentBuilder;
use utoipa::openapi::Ref;
use utoipa::openapi::RefOr;
use utoipa::openapi::Response;
use utoipa::openapi::ResponseBuilder;

/// Declares sets of problems for `responses(...)` of an operation.
macro_rules! problem_sets {
    ($($(#[$doc:meta])* $name:ident: $($kind:ident)+;)+) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                document(&[$(Kind::$kind),+])
            }
        }
    )+};
}

problem_sets! {
    /// Whatever needs a token.
    AnyProblem: Unauthorized ForeignHost ForeignOrigin;
    /// Reads that take a query.
    QueryProblem: BadRequest Unauthorized ForeignHost ForeignOrigin UnknownPool;
    /// What happens, told as it happens.
    FollowProblem: BadRequest Unauthorized ForeignHost ForeignOrigin UnknownPool Crowded;
    /// Reads of one pool.
    PoolProblem: Unauthorized ForeignHost ForeignOrigin UnknownPool;
    /// Reads of one node.
    NodeProblem: Unauthorized ForeignHost ForeignOrigin UnknownPool UnknownNode;
    /// Reads at an epoch.
    EpochProblem: BadRequest Unauthorized ForeignHost ForeignOrigin UnknownPool UnknownEpoch;
    /// Questions about a pool that come with a body.
    QuestionProblem: BadRequest Unauthorized ForeignHost ForeignOrigin UnknownPool SlowBody TooLarge MediaType;
    /// Many keys in one question.
    ManyKeysProblem: BadRequest Unauthorized ForeignHost ForeignOrigin UnknownPool UnknownEpoch SlowBody TooLarge
        MediaType Refused;
    /// Changes that are only looked at.
    PlanProblem: BadRequest Unauthorized ForeignHost ForeignOrigin UnknownPool SlowBody TooLarge MediaType Refused;
    /// Changes that are made.
    ApplyProblem: BadRequest Unauthorized Forbidden ForeignHost ForeignOrigin UnknownPool SlowBody OwnedByFile Stale
        TooLarge MediaType Refused Unsafe Failed HandedOver Stopping Store StoreFull;
    /// Writes of a node that may not be there before.
    PutNodeProblem: BadRequest Unauthorized Forbidden ForeignHost ForeignOrigin UnknownPool SlowBody OwnedByFile Stale
        Exists TooLarge MediaType Refused Unsafe Failed HandedOver Stopping Store StoreFull;
    /// Writes of a node that must be there.
    PatchNodeProblem: BadRequest Unauthorized Forbidden ForeignHost ForeignOrigin UnknownPool UnknownNode SlowBody
        OwnedByFile Stale TooLarge MediaType Refused Unsafe Failed HandedOver Stopping Store StoreFull;
    /// Removals of a node, which come without a body.
    DeleteNodeProblem: BadRequest Unauthorized Forbidden ForeignHost ForeignOrigin UnknownPool UnknownNode OwnedByFile
        Stale Unsafe Failed HandedOver Stopping Store StoreFull;
    /// Reloads of the config file.
    ReloadProblem: BadRequest Unauthorized Forbidden ForeignHost ForeignOrigin SlowBody TooLarge MediaType Config
        HandedOver Stopping;
}

/// One response for each status, with the kinds of problems that have it.
fn document(kinds: &[Kind]) -> BTreeMap<String, RefOr<Response>> {
    let mut descriptions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for kind in kinds {
        let (status, title) = (kind.status().as_u16().to_string(), kind.title());
        descriptions.entry(status).or_default().push(format!("{title} (`{}`)", kind.urn()));
    }
    let response = |(status, description): (String, Vec<String>)| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(description.join("; ")).content(PROBLEM_TYPE, content);
        (status, RefOr::T(response.build()))
    };
    descriptions.into_iter().map(response).collect()
}
