//! Views in subsets, in an order in which neighbours in time are far apart in angle.
//!
//! Subset $s$ of $S$ holds the views $s, s+S, s+2S, \dots$; subsets are taken in the order
//! $0, a, 2a, \dots \bmod S$ with $a$ the number nearest $S/\varphi$ that has no divisor in
//! common with $S$ ($\varphi$ the golden ratio), so that each falls between earlier ones.
//!
//! Source: Hudson & Larkin 1994, doi:10.1109/42.363108 (ordered subsets); Köhler 2004,
//! doi:10.1109/NSSMIC.2004.1466745 (golden ordering of views). Validated by
//! `every_view_is_in_one_subset` below.

use super::sirt::scales;
use super::{Problem, ReconstructError};
use microtome_kernels::ray::Real;

/// Bytes of scales that are kept; beyond them they are computed again in every pass.
const KEPT_BYTES: usize = 64 << 20;

/// Subsets in the order in which they are taken.
pub(super) struct Subsets {
    views: Vec<Vec<usize>>,
    pixels: usize,
}

fn divisor(mut a: usize, mut b: usize) -> usize {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Subsets {
    /// So many subsets of the views of a problem.
    pub(super) fn new<T: Real>(
        problem: &Problem<'_, T>,
        count: usize,
    ) -> Result<Self, ReconstructError> {
        let n = problem.all_views.len();
        if count == 0 || count > n {
            let problem = format!("{count}; from 1 to the number of views, {n}, is needed");
            return Err(ReconstructError::setting("subsets", problem));
        }
        Ok(Self { views: order(n, count), pixels: problem.pixels })
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.views.len()
    }

    /// The views of the subset that is taken as the `k`-th.
    pub(super) fn views(&self, k: usize) -> &[usize] {
        &self.views[k]
    }

    /// Copies the values of a subset.
    pub(super) fn gather<T: Real>(&self, k: usize, values: &[T], out: &mut Vec<T>) {
        out.clear();
        let n = self.pixels;
        self.views[k].iter().for_each(|v| out.extend_from_slice(&values[v * n..(v + 1) * n]));
    }
}

fn order(n: usize, count: usize) -> Vec<Vec<usize>> {
    let golden = (count as f64 / 1.618_033_988_749_895).round() as usize;
    let fits = |a: &usize| *a > 0 && divisor(*a, count) == 1;
    let near = (0..count).flat_map(|d| [golden + d, golden.saturating_sub(d)]);
    let step = near.into_iter().find(fits).unwrap_or(1);
    (0..count).map(|k| ((k * step) % count..n).step_by(count).collect()).collect()
}

/// What a subset needs beside its projections, kept where it is small.
pub(super) enum Kept<T> {
    All(Vec<[Vec<T>; 2]>),
    Rows,
}

impl<T: Real> Kept<T> {
    /// The scales $W_s$ and $D_s$ of every subset, or the decision to compute them anew.
    pub(super) fn scales(
        method: &'static str,
        problem: &Problem<'_, T>,
        subsets: &Subsets,
    ) -> Result<Self, ReconstructError> {
        let bytes = subsets.len() * problem.n_voxels() * size_of::<T>();
        if bytes > KEPT_BYTES {
            scales(method, problem, &problem.all_views)?;
            return Ok(Kept::Rows);
        }
        // A single subset may miss the volume; all of them may not.
        scales(method, problem, &problem.all_views)?;
        let of = |k| subset_scales(method, problem, subsets.views(k));
        Ok(Kept::All((0..subsets.len()).map(of).collect::<Result<_, _>>()?))
    }

    /// Runs `f` with the scales of a subset.
    pub(super) fn with<R>(
        &self,
        method: &'static str,
        problem: &Problem<'_, T>,
        subsets: &Subsets,
        k: usize,
        f: impl FnOnce(&[Vec<T>; 2]) -> R,
    ) -> Result<R, ReconstructError> {
        match self {
            Kept::All(all) => Ok(f(&all[k])),
            Kept::Rows => Ok(f(&subset_scales(method, problem, subsets.views(k))?)),
        }
    }
}

/// The scales of a subset, zeros where it misses the volume.
fn subset_scales<T: Real>(
    method: &'static str,
    problem: &Problem<'_, T>,
    views: &[usize],
) -> Result<[Vec<T>; 2], ReconstructError> {
    match scales(method, problem, views) {
        Err(ReconstructError::NoRays) => {
            let rays = vec![T::default(); views.len() * problem.pixels];
            Ok([rays, vec![T::default(); problem.n_voxels()]])
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_is_in_one_subset() {
        for (n, count) in [(1, 1), (10, 3), (60, 60), (61, 12), (7, 7), (360, 90)] {
            let subsets = order(n, count);
            assert_eq!(subsets.len(), count);
            let mut all: Vec<usize> = subsets.iter().flatten().copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>(), "{n} {count}");
            let sizes: Vec<usize> = subsets.iter().map(Vec::len).collect();
            assert!(sizes.iter().all(|s| s.abs_diff(n / count) <= 1));
        }
        // Neighbours in time are far apart.
        let first: Vec<usize> = order(60, 60).iter().map(|s| s[0]).collect();
        assert_eq!(first[..4], [0, 37, 14, 51]);
    }
}
