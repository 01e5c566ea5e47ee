//! Where requests go, and why there.

/// Where a request went, and why there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// To a later candidate, because an earlier one failed.
    Failover,
    /// To any node, for want of a key.
    NoKey,
    /// To the owner of its key.
    Owner,
    /// To a later candidate, because the owner of its key had enough to do.
    Spill,
}

impl Decision {
    /// The word in metrics, logs and the `x-ringway-decision` header.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Decision::Failover => "failover",
            Decision::NoKey => "no-key",
            Decision::Owner => "owner",
            Decision::Spill => "spill",
        }
    }
}
