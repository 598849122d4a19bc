//! Of all peaks of the field, the one nearest to the last direction.
//!
//! $$d = \arg\max_{u\in\text{peaks}}|u\cdot d_\mathrm{previous}|$$
//!
//! Peaks are axes that no neighbour exceeds, at least a part of the largest value and apart by an
//! angle, the largest first; the chosen one is then climbed by Newton's method.
//!
//! Source: Garyfallidis et al. 2014, doi:10.3389/fninf.2014.00008 (closest peak). Validated by
//! `the_closest_peak_is_taken` in `kernels/tests/suite/streamlines.rs`.

use super::functions::Functions;
use super::lattice::Number;
use super::{Chance, Heading, Rule, Scratch, Stop, Vec3};

/// A field of functions on the sphere whose closest peak is followed.
#[derive(Clone, Debug)]
pub struct ClosestRule<'a, T> {
    /// The field.
    pub functions: Functions<'a, T>,
}

impl<T: Number> Rule for ClosestRule<'_, T> {
    #[inline(always)]
    fn starts<const FMA: bool>(&self, x: Vec3, scratch: &mut Scratch, out: &mut Vec<Heading>) {
        self.functions.starts::<FMA>(x, scratch, out);
    }

    #[inline(always)]
    fn heading<const FMA: bool>(
        &self,
        x: Vec3,
        previous: Vec3,
        _chance: &mut Chance,
        scratch: &mut Scratch,
    ) -> Result<Heading, Stop> {
        self.functions.sample::<FMA>(x, &mut scratch.terms).ok_or(Stop::Outside)?;
        self.functions.peaks.closest::<FMA>(previous, scratch)
    }
}
