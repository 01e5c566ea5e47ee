//! What is wrong with what was seen, and how bad that is.

/// How well a row went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    /// As the strict reading of the RFCs has it.
    Clean,
    /// Otherwise, but nobody can be led astray by it.
    Lenient,
    /// Something was passed on that another program may read differently, or somebody got what was not theirs.
    Hard,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) grade: Grade,
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn hard(what: impl Into<String>) -> Finding {
        Finding { grade: Grade::Hard, what: what.into() }
    }

    pub(crate) fn lenient(what: impl Into<String>) -> Finding {
        Finding { grade: Grade::Lenient, what: what.into() }
    }
}

/// The worst of them.
pub(crate) fn worst(findings: &[Finding]) -> Grade {
    findings.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Clean)
}
