//! The draws of one scalar: a checked view of a chain-major slice.
//!
//! $$x_{c,d} = \mathtt{values}[c\,D + d],\qquad 0\le c<C,\ 0\le d<D$$
//!
//! with $C$ chains of $D$ draws in any unit. Validated by
//! `a_wrong_length_is_named` below.

/// What is wrong with the input of a diagnostic.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DiagnosticsError {
    /// The slice is not `chains * draws` long.
    #[error(
        "diagnostics: {values} values for {chains} chains of {draws} draws; \
         give chains * draws values, chain after chain"
    )]
    Shape {
        /// Length of the slice.
        values: usize,
        /// Number of chains.
        chains: usize,
        /// Draws of one chain.
        draws: usize,
    },
    /// More draws than the index type of the sort can count.
    #[error(
        "diagnostics: {values} draws of one scalar; at most {most} are supported, thin the chains"
    )]
    TooMany {
        /// Length of the slice.
        values: usize,
        /// Largest length.
        most: usize,
    },
}

/// Draws of one scalar, `[chain, draw]`.
///
/// # Example
/// ```
/// use microtome_inference::diagnostics::{Chains, Workspace, summarize};
/// let values = [1.0, 2.0, 3.0, 4.0, 4.0, 3.0, 2.0, 1.0];
/// let s = summarize(Chains::new(&values, 2, 4)?, &mut Workspace::new());
/// assert_eq!((s.mean, s.q50), (2.5, 2.5));
/// # Ok::<(), microtome_inference::diagnostics::DiagnosticsError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Chains<'a> {
    values: &'a [f64],
    chains: usize,
    draws: usize,
}

impl<'a> Chains<'a> {
    /// The largest number of values of one scalar.
    pub const MOST: usize = 1 << 30;

    /// A view of `values` as `chains` chains of `draws` draws.
    ///
    /// # Shapes
    /// `values` is `[chain, draw]`, chain after chain.
    ///
    /// # Errors
    /// A length other than `chains * draws`, or above [`Chains::MOST`].
    pub fn new(values: &'a [f64], chains: usize, draws: usize) -> Result<Self, DiagnosticsError> {
        if chains.checked_mul(draws) != Some(values.len()) {
            return Err(DiagnosticsError::Shape { values: values.len(), chains, draws });
        }
        if values.len() > Self::MOST {
            return Err(DiagnosticsError::TooMany { values: values.len(), most: Self::MOST });
        }
        Ok(Self { values, chains, draws })
    }

    /// All draws, chain after chain.
    pub fn values(&self) -> &'a [f64] {
        self.values
    }

    /// Number of chains.
    pub fn chains(&self) -> usize {
        self.chains
    }

    /// Draws of one chain.
    pub fn draws(&self) -> usize {
        self.draws
    }

    /// Whether effective sample sizes and standard errors exist: at least one
    /// chain, four draws a chain, no NaN.
    pub(super) fn usable(&self) -> bool {
        self.chains >= 1 && self.draws >= 4 && !self.has_nan()
    }

    pub(super) fn has_nan(&self) -> bool {
        self.values.iter().fold(false, |found, v| found | v.is_nan())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_wrong_length_is_named() {
        let text = Chains::new(&[0.0; 7], 2, 4).unwrap_err().to_string();
        assert!(text.contains("7 values for 2 chains of 4 draws"), "{text}");
        assert!(Chains::new(&[], usize::MAX, 2).is_err());
        assert!(Chains::new(&[0.0; 8], 2, 4).is_ok());
    }
}
