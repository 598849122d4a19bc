//! Conjugate gradients for sixteen right-hand sides at once, in 32 bits, refined in 64.
//!
//! $$d \approx H^{-1}r,\qquad x \leftarrow x + d,\qquad r \leftarrow b - Hx$$
//!
//! The inner systems have the stored matrix and their own steps; a side that has reached its
//! tolerance stands still, so that what it becomes does not depend on the others. The residual
//! of the outer loop is in 64 bits.
//!
//! Source: Saad 2003, *Iterative Methods for Sparse Linear Systems*, algorithm 9.1; Higham 2002,
//! *Accuracy and Stability of Numerical Algorithms*, section 12.1 (refinement). Validated by
//! `several_are_each` in `inference/tests/suite/image_posterior.rs`.

use super::super::ReconstructError;
use super::super::vector::norm;
use super::conjugate::Solved;
use super::gaussian::GaussianImage;
use super::spectrum::Spectrum;
use microtome_kernels::abreast::{
    ABREAST, CosineLanes, Images, NormalTerm, Stored, Wide, add_field, add_scaled, dots, pull,
    redirect, scale,
};

/// What one pass in 32 bits may reach.
const SINGLE: f64 = 2e-6;
/// Most passes.
const PASSES: usize = 4;

/// A posterior whose matrix is stored.
pub(super) struct Several<'a> {
    image: &'a GaussianImage<'a>,
    matrix: Stored,
    weight: Vec<f32>,
    zero: Vec<f32>,
    cosine: CosineLanes,
    inverse: Vec<f32>,
}

impl<'a> Several<'a> {
    /// `None` where the matrix is not known or too large.
    pub(super) fn new(image: &'a GaussianImage<'a>, spectrum: &Spectrum) -> Option<Self> {
        let narrow = |v: &[f64]| -> Vec<f32> { v.iter().map(|v| *v as f32).collect() };
        Some(Self {
            image,
            matrix: image.stored()?,
            weight: narrow(image.weights()),
            zero: vec![0.0; image.weights().len()],
            cosine: CosineLanes::new(image.field().shape()),
            inverse: narrow(spectrum.inverse()),
        })
    }

    /// Solves $Hx = b$ for at most [`ABREAST`] right-hand sides until the residual is below
    /// `tolerance` $\|b\|$.
    pub(super) fn solve(
        &self,
        sides: &[Vec<f64>],
        tolerance: f64,
        most: usize,
    ) -> Result<Vec<(Vec<f64>, Solved)>, ReconstructError> {
        let n = self.image.n_voxels();
        let mut out: Vec<(Vec<f64>, Solved)> =
            sides.iter().map(|_| (vec![0.0; n], Solved { iterations: 0, residual: 1.0 })).collect();
        let mut rest: Vec<Vec<f64>> = sides.to_vec();
        let mut hx = vec![0.0; n];
        for _ in 0..PASSES {
            let mut images = Images::<ABREAST>::zeros(n);
            let (mut scales, mut goals) = ([0.0; ABREAST], [f64::INFINITY; ABREAST]);
            for (l, ((_, solved), (r, b))) in out.iter().zip(rest.iter().zip(sides)).enumerate() {
                let (size, whole) = (norm(r), norm(b));
                if size <= tolerance * whole || solved.iterations >= most {
                    continue;
                }
                (scales[l], goals[l]) = (size, (0.5 * tolerance * whole / size).max(SINGLE));
                images.iter_mut().zip(r).for_each(|(to, r)| to[l] = (r / size) as f32);
            }
            if scales.iter().all(|s| *s == 0.0) {
                break;
            }
            let (found, steps) = self.pass(images, goals, most);
            for (l, ((x, solved), (r, b))) in
                out.iter_mut().zip(rest.iter_mut().zip(sides)).enumerate()
            {
                solved.iterations += steps[l];
                if scales[l] == 0.0 {
                    continue;
                }
                for (x, d) in x.iter_mut().zip(found.iter()) {
                    *x += scales[l] * f64::from(d[l]);
                }
                self.image.precision(x, &mut hx)?;
                for (r, (b, h)) in r.iter_mut().zip(b.iter().zip(&hx)) {
                    *r = b - h;
                }
            }
        }
        for ((_, solved), (r, b)) in out.iter_mut().zip(rest.iter().zip(sides)) {
            let whole = norm(b);
            solved.residual = if whole > 0.0 { norm(r) / whole } else { 0.0 };
        }
        Ok(out)
    }

    /// Writes $Hx$ over `out`.
    fn multiply(
        &self,
        x: &[Wide<ABREAST>],
        slopes: &mut [Wide<ABREAST>],
        out: &mut [Wide<ABREAST>],
    ) {
        out.fill([0.0; ABREAST]);
        let term = NormalTerm { offset: &self.zero, weight: &self.weight };
        pull(&self.matrix, &term, x, slopes, out);
        let field = self.image.field();
        add_field(field.shape(), field.weight() as f32, field.kappa2() as f32, x, out);
    }

    /// Conjugate gradients from zero on for right-hand sides of length 1, until their residuals
    /// are below the goals; solutions and steps.
    fn pass(
        &self,
        mut r: Images<ABREAST>,
        goals: [f64; ABREAST],
        most: usize,
    ) -> (Images<ABREAST>, [usize; ABREAST]) {
        let n = r.len();
        let mut x = Images::<ABREAST>::zeros(n);
        let mut hp = Images::<ABREAST>::zeros(n);
        let mut slopes = Images::<ABREAST>::zeros(self.matrix.rows().len());
        let mut steps = [0; ABREAST];
        let precondition = |r: &Images<ABREAST>| {
            let mut z = r.clone();
            self.cosine.forward(&mut z);
            scale(&mut z, &self.inverse);
            self.cosine.inverse(&mut z);
            z
        };
        let mut p = precondition(&r);
        let mut rz = dots(&r, &p);
        for _ in 0..most {
            let size = dots(&r, &r);
            let moves: [bool; ABREAST] =
                std::array::from_fn(|l| size[l].sqrt() > goals[l] && rz[l] > 0.0);
            if moves.iter().all(|m| !m) {
                break;
            }
            self.multiply(&p, &mut slopes, &mut hp);
            let curvature = dots(&p, &hp);
            let step: [f32; ABREAST] = std::array::from_fn(|l| {
                let positive = moves[l] && curvature[l] > 0.0;
                if positive { (rz[l] / curvature[l]) as f32 } else { 0.0 }
            });
            add_scaled(&mut x, step, &p);
            add_scaled(&mut r, step.map(|s| -s), &hp);
            let z = precondition(&r);
            let next = dots(&r, &z);
            let turn: [f32; ABREAST] =
                std::array::from_fn(|l| if step[l] > 0.0 { (next[l] / rz[l]) as f32 } else { 0.0 });
            redirect(&mut p, turn, &z);
            for l in 0..ABREAST {
                steps[l] += usize::from(step[l] > 0.0);
                // A side that can't go on is one that has ended.
                rz[l] = if step[l] > 0.0 { next[l] } else { 0.0 };
            }
        }
        (x, steps)
    }
}
