//! What can be wrong with a CT set-up.

use super::GeometryKind;

/// Why a geometry, a volume or an array can't be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CtError {
    /// A word that is no kind of geometry.
    #[error("unknown kind `{kind}`; use parallel2d, fan2d, parallel3d, cone3d or pose5")]
    UnknownKind {
        /// The word.
        kind: String,
    },
    /// A word that is no projector.
    #[error("unknown projector `{projector}`; use siddon, joseph, trilinear or sf")]
    UnknownProjector {
        /// The word.
        projector: String,
    },
    /// The text is no set-up.
    #[error("{text}")]
    Text {
        /// The parser's reason, with line and key.
        text: String,
    },
    /// A key has a value of the wrong form.
    #[error("`{key}`: {what}")]
    Key {
        /// The key.
        key: &'static str,
        /// What is wrong and what to do.
        what: String,
    },
    /// The table of views has another number of columns.
    #[error(
        "views of {} are rows of {expected} numbers ({}); found {found}",
        kind.name(),
        kind.columns()
    )]
    Columns {
        /// The kind.
        kind: GeometryKind,
        /// Columns that are needed.
        expected: usize,
        /// Columns found.
        found: usize,
    },
    /// A view can't be.
    #[error("view {view} (counted from 0): {what}")]
    View {
        /// The row, counted from 0.
        view: usize,
        /// What is wrong.
        what: String,
    },
    /// A view that does not exist was asked for.
    #[error("view {view} was asked for, but there are {views}, counted from 0")]
    NoView {
        /// The view.
        view: usize,
        /// How many there are.
        views: usize,
    },
    /// An array has another shape than the set-up.
    #[error("the {what} has {found} values, but the set-up needs {expected} (shape {shape:?})")]
    Length {
        /// Volume or projections.
        what: &'static str,
        /// Values found.
        found: usize,
        /// Values needed.
        expected: usize,
        /// The shape of the set-up.
        shape: Vec<usize>,
    },
    /// More memory than this machine has.
    #[error("no memory for {values} values of {what}; use a smaller volume or fewer views")]
    Memory {
        /// Volume or projections.
        what: &'static str,
        /// Values asked for.
        values: usize,
    },
}

impl CtError {
    pub(super) fn key(key: &'static str, what: impl Into<String>) -> Self {
        CtError::Key { key, what: what.into() }
    }

    pub(super) fn view(view: usize, what: impl Into<String>) -> Self {
        CtError::View { view, what: what.into() }
    }
}
