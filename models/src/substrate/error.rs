//! What can be wrong with a substrate, a sequence or a walk.

/// Why a simulation can't be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SubstrateError {
    /// A word that is no kind of substrate.
    #[error("unknown kind `{kind}`; use {}", super::description::KINDS.join(", "))]
    UnknownKind {
        /// The word.
        kind: String,
    },
    /// The text is no substrate.
    #[error("{text}")]
    Text {
        /// The parser's reason, with line and key.
        text: String,
    },
    /// A key has a value that can't be.
    #[error("`{key}`: {what}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// A gradient can't be.
    #[error("{what}")]
    Sequence {
        /// What is wrong and what to do.
        what: String,
    },
    /// The walk can't be.
    #[error("{what}")]
    Walk {
        /// What is wrong and what to do.
        what: String,
    },
}

impl SubstrateError {
    pub(super) fn key(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Key { key: key.into(), what: what.into() }
    }

    pub(super) fn sequence(what: impl Into<String>) -> Self {
        Self::Sequence { what: what.into() }
    }
}
