//! The axis of rotation on the detector of a parallel beam.
//!
//! | method | asks of the views | idea |
//! |---|---|---|
//! | `mirror` | a pair half a turn apart | a view and the mirror image of the one from behind are equal |
//! | `vo` | half a turn, evenly, its end left out | the double wedge of the scan joined to its mirror image is empty |
//! | `moments` | three directions; nothing cut off | centroids lie on $c + a\cos\theta + b\sin\theta$ |
//!
//! `auto` is `mirror` for a full turn, else `vo`, else `mirror` for a single pair, else
//! `moments`. `moments` weights no noise and suits scans of little noise and no truncation.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $c$ | pixel | the axis, counted from 0 |
//! | $\theta$ | rad | angle of a view |
//!
//! Source: Vo et al. 2014, doi:10.1364/OE.22.019078 (`vo`); Azevedo et al. 1990,
//! doi:10.1109/23.55866 (`moments`). Validated by `the_axis_is_found` in
//! `inference/tests/suite/prepare.rs`.

use super::{PrepareError, sinogram};
use microtome_kernels::ray::Real;
use microtome_kernels::sinogram::mirror::{MirrorSums, pairs};
use rayon::prelude::*;
use std::f64::consts::PI;

/// Most detector rows that are looked at.
const ROWS: usize = 16;

/// How the axis is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CentreMethod {
    /// What suits the angles.
    Auto,
    /// Views half a turn apart.
    Mirror,
    /// The double wedge of half a turn.
    Vo,
    /// Centroids.
    Moments,
}

/// The axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Centre {
    /// Pixel along u, counted from 0.
    pub pixel: f64,
    /// Its standard deviation, for independent noise.
    pub sd: f64,
    /// The method.
    pub method: CentreMethod,
    /// Candidates and their misfit, from 0 (all fits) to 1; empty for `moments`.
    pub curve: Vec<[f64; 2]>,
}

/// Evenly spaced angles over half a turn: how many of them, without an end that repeats the
/// start.
fn half_turn(angles: &[f64]) -> Option<usize> {
    let n = angles.len();
    if n < 8 {
        return None;
    }
    let step = (angles[n - 1] - angles[0]) / (n - 1) as f64;
    let even = |k: usize| (angles[k] - angles[0] - step * k as f64).abs() < 0.05 * step.abs();
    if step == 0.0 || !(0..n).all(even) {
        return None;
    }
    let views = PI / step.abs();
    [n, n - 1].into_iter().find(|m| (*m as f64 - views).abs() < 0.3)
}

/// Finds the axis.
///
/// # Shapes
/// `projections` `[view, v, u]`, `angles` `[view]` in rad. `range` are the least and the
/// greatest pixel; a quarter of the detector from either edge where left out.
///
/// # Errors
/// Angles that do not suit the method; no minimum inside the range.
pub fn find_centre<T: Real>(
    projections: &[T],
    shape: [usize; 3],
    angles: &[f64],
    method: CentreMethod,
    range: Option<[f64; 2]>,
) -> Result<Centre, PrepareError> {
    let [n, nv, nu] = shape;
    if angles.len() != n || projections.len() != n * nv * nu || n == 0 {
        let what = format!("{} angles for {n} views of {nv} x {nu} pixels", angles.len());
        return Err(PrepareError::setting(what));
    }
    if let Some(at) = projections.iter().position(|v| !v.wide().is_finite()) {
        let (image, v, u) = (at / (nv * nu), at / nu % nv, at % nu);
        let value = projections[at].wide();
        return Err(PrepareError::NotFinite { what: "projections", image, v, u, value });
    }
    let last = nu as f64 - 1.0;
    let [low, high] = range.unwrap_or([0.25 * last, 0.75 * last]);
    if !(low < high && low.is_finite() && high.is_finite()) {
        let what = format!("the axis is to be looked for from {low} to {high}");
        return Err(PrepareError::setting(what));
    }
    let step = step(angles);
    let found = pairs(angles, 0.05 * step.max(1e-9));
    let half = half_turn(angles);
    let method = match method {
        CentreMethod::Auto if 3 * found.len() >= n => CentreMethod::Mirror,
        CentreMethod::Auto if half.is_some() => CentreMethod::Vo,
        CentreMethod::Auto if !found.is_empty() => CentreMethod::Mirror,
        CentreMethod::Auto => CentreMethod::Moments,
        other => other,
    };
    let rows: Vec<usize> = if nv <= ROWS {
        (0..nv).collect()
    } else {
        (0..ROWS).map(|k| (2 * k + 1) * nv / (2 * ROWS)).collect()
    };
    let row = |v: usize| -> Vec<f64> {
        sinogram(projections, shape, v).into_iter().map(|p| p.wide()).collect()
    };
    let of_row: Box<dyn Fn(usize) -> MirrorSums + Sync> = match (method, half) {
        (CentreMethod::Moments, _) => return moments(&rows, row, shape, angles, [low, high]),
        (CentreMethod::Mirror, _) if found.is_empty() => {
            return Err(PrepareError::setting(
                "the angles have no two views half a turn apart, which `mirror` needs; use vo or \
                 moments, or give the axis",
            ));
        }
        (CentreMethod::Mirror, _) => Box::new(move |v| MirrorSums::of_pairs(&row(v), nu, &found)),
        (_, Some(views)) => {
            // The object may reach the far edge of the detector, with a tenth to spare.
            let radius = 0.6 * nu as f64;
            Box::new(move |v| MirrorSums::of_half_turn(&row(v)[..views * nu], nu, radius))
        }
        (_, None) => {
            return Err(PrepareError::setting(
                "the angles are not even over half a turn, which `vo` needs; use mirror or \
                 moments, or give the axis",
            ));
        }
    };
    let sums: Vec<MirrorSums> = rows.par_iter().map(|v| of_row(*v)).collect();
    let mut parts = sums.into_iter();
    let Some(mut sums) = parts.next() else {
        return Err(PrepareError::setting("there are no rows"));
    };
    parts.for_each(|part| sums.add(&part));
    let Some(axis) = sums.minimum(low, high) else {
        return Err(PrepareError::setting(format!(
            "no axis fits best inside pixels {low} to {high}; widen the range (--centre-range) or \
             give the axis (--centre X)"
        )));
    };
    let steps = ((high - low) * 2.0).ceil().clamp(1.0, 4000.0) as usize;
    let at = |k: usize| low + (high - low) * k as f64 / steps as f64;
    let curve = (0..=steps).map(|k| [at(k), sums.score(at(k))]).collect();
    Ok(Centre { pixel: axis.centre, sd: axis.sd, method, curve })
}

/// The median distance of neighbouring views.
fn step(angles: &[f64]) -> f64 {
    let mut steps: Vec<f64> = angles.windows(2).map(|w| (w[1] - w[0]).abs()).collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied().unwrap_or(0.0)
}

fn moments(
    rows: &[usize],
    row: impl Fn(usize) -> Vec<f64>,
    [n, _, nu]: [usize; 3],
    angles: &[f64],
    [low, high]: [f64; 2],
) -> Result<Centre, PrepareError> {
    let (mut mass, mut first) = (vec![0.0; n], vec![0.0; n]);
    for v in rows {
        for (k, part) in row(*v).chunks_exact(nu).enumerate() {
            mass[k] += part.iter().sum::<f64>();
            first[k] += part.iter().enumerate().map(|(u, p)| u as f64 * p).sum::<f64>();
        }
    }
    let total: f64 = mass.iter().sum::<f64>() / n as f64;
    // Also false for NaN.
    let absorbs = total > 0.0;
    if n < 4 || !absorbs {
        return Err(PrepareError::setting(
            "`moments` needs four and more views of an object that absorbs; give the axis",
        ));
    }
    let centroid: Vec<f64> = first.iter().zip(&mass).map(|(f, m)| f / m).collect();
    let basis: Vec<[f64; 3]> = angles.iter().map(|a| [1.0, a.cos(), a.sin()]).collect();
    // Normal equations of three unknowns, solved by their adjugate.
    let mut m = [[0.0; 3]; 3];
    let mut b = [0.0; 3];
    for (x, c) in basis.iter().zip(&centroid) {
        for i in 0..3 {
            b[i] += x[i] * c;
            for j in 0..3 {
                m[i][j] += x[i] * x[j];
            }
        }
    }
    let minor = |r: usize, c: usize| {
        let (r1, r2, c1, c2) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
        m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
    };
    let determinant: f64 = (0..3).map(|c| m[0][c] * minor(0, c)).sum();
    let determined = determinant > 1e-9 * (n as f64).powi(3);
    if !determined {
        return Err(PrepareError::setting(
            "the angles span too little for `moments`; give the axis (--centre X)",
        ));
    }
    let inverse = |r: usize, c: usize| minor(c, r) / determinant;
    let solved: [f64; 3] = std::array::from_fn(|r| (0..3).map(|c| inverse(r, c) * b[c]).sum());
    let residual: f64 = basis
        .iter()
        .zip(&centroid)
        .map(|(x, c)| c - (0..3).map(|k| x[k] * solved[k]).sum::<f64>())
        .map(|r| r * r)
        .sum();
    let pixel = solved[0];
    if !(low..=high).contains(&pixel) {
        let what = format!(
            "the centroids give an axis at pixel {pixel:.2}, outside {low} to {high}; is the \
             object cut off? Give the axis (--centre X)"
        );
        return Err(PrepareError::setting(what));
    }
    let sd = (residual / (n - 3) as f64 * inverse(0, 0)).sqrt();
    Ok(Centre { pixel, sd, method: CentreMethod::Moments, curve: Vec::new() })
}
