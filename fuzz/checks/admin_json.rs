//! Any body of the admin API: what it is read as is applied or refused, and reads back from what is written of it.

use ringway::admin::model::ApplyRequest;
use ringway::admin::model::LocateRequest;
use ringway::admin::model::NodePatch;
use ringway::admin::model::NodeSpec;
use ringway::admin::model::PlanRequest;
use ringway::admin::model::RollbackRequest;
use ringway::cluster::membership::Membership;
use ringway::placement::PlacementSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// The body as each of the documents that it could be.
pub(crate) fn check(data: &[u8]) {
    reads_back::<LocateRequest>(data);
    reads_back::<NodePatch>(data);
    reads_back::<NodeSpec>(data);
    reads_back::<PlanRequest>(data);
    reads_back::<RollbackRequest>(data);
    let Some(request) = reads_back::<ApplyRequest>(data) else { return };
    let empty = Membership::with_nodes(PlacementSettings::Ring { vnodes: 4 }, Vec::new()).expect("no nodes");
    if let Ok(membership) = empty.apply(&request.changes) {
        let back = membership.changes_to(&empty);
        let emptied = membership.apply(&back).expect("the way back to what was there before");
        assert_eq!(emptied, empty, "after {:?} and {back:?}", request.changes);
    }
}

fn reads_back<T: DeserializeOwned + Serialize + PartialEq + Debug>(data: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(data).ok()?;
    let written = serde_json::to_string(&read).expect("what was read can be written");
    let again: T = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(again, read, "{written}");
    Some(read)
}
