//! The peak of a function on the sphere that Newton's method finds from the last direction
//! ([`crate::sphere_peak`]).
//!
//! At a peak the gradient in the tangent plane is zero, so by the implicit function theorem
//! its derivative with respect to any number c is $-H_T^{-1}P\,\partial_c\nabla f$, and that of the
//! amplitude is $\partial_c f$ alone.
//!
//! Source: Tournier, Calamante & Connelly 2012, doi:10.1002/ima.22005 (SD_STREAM: follow the
//! peak nearest by Newton's method). Validated by `kernels/tests/suite/streamlines.rs`.

use super::functions::{Functions, TOLERANCE};
use super::lattice::Number;
use super::{Chance, Heading, Rule, Scratch, Stop, Vec3};
use crate::sphere_peak::climb;

/// A field of functions on the sphere whose nearest peak is followed.
#[derive(Clone, Debug)]
pub struct PeakRule<'a, T> {
    /// The field.
    pub functions: Functions<'a, T>,
}

impl<T: Number> Rule for PeakRule<'_, T> {
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
        let peak = climb::<FMA>(self.functions.order(), &scratch.terms, previous, TOLERANCE);
        let (direction, amplitude) = peak.ok_or(Stop::Direction)?;
        if amplitude >= self.functions.peaks.threshold {
            Ok(Heading { direction, amplitude })
        } else {
            Err(Stop::Threshold)
        }
    }
}
