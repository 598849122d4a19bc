//! Posteriors of a line through the image, and of how much of it is above a limit.
//!
//! $$f_k = \sum_j w_{kj}x_j,\qquad V = v\,\#\{j : x_j > t\}$$
//!
//! with the weights $w_k$ of linear interpolation at points one voxel apart, and the volume (in
//! the plane: area) $v$ of a voxel. A point is a linear function of the image: exact from a
//! covariance, else from the draws. The volume is none, and is from the draws.
//!
//! Validated by the tests below and by `profiles_are_functionals` in
//! `inference/tests/suite/image_posterior.rs`.

use super::super::ReconstructError;
use super::chain_summary::columns_of;
use super::summary::marginals;
use super::{DensePosterior, ImageChains, RegionRow, SampledPosterior, VoxelRow};
use crate::table::Columns;
use arrow_array::RecordBatch;

/// A point of a line.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfilePoint {
    /// Distance from the first point, mm.
    pub distance_mm: f64,
    /// Voxels and their shares.
    pub weights: Vec<(usize, f64)>,
}

impl ProfilePoint {
    fn of<T: Copy + Into<f64>>(&self, x: &[T]) -> f64 {
        let share = |(j, w): &(usize, f64)| {
            let value: f64 = x[*j].into();
            w * value
        };
        self.weights.iter().map(share).sum()
    }
}

/// Points from one place to another, at most a voxel apart; places are index coordinates in
/// the order of the axes, 0 at the centre of the first voxel.
///
/// # Errors
/// Places with another number of coordinates or outside of the centres of the voxels.
pub fn profile(
    shape: &[usize],
    voxel_mm: &[f64],
    from: &[f64],
    to: &[f64],
) -> Result<Vec<ProfilePoint>, ReconstructError> {
    for place in [from, to] {
        let fits = place.len() == shape.len()
            && place.iter().zip(shape).all(|(p, n)| (0.0..=*n as f64 - 1.0).contains(p));
        if !fits {
            let last: Vec<usize> = shape.iter().map(|n| n.saturating_sub(1)).collect();
            let problem = format!("{place:?}: places go from 0 to {last:?}");
            return Err(ReconstructError::setting("profile", problem));
        }
    }
    let length = |unit: &dyn Fn(usize) -> f64| {
        let square = |a: usize| ((to[a] - from[a]) * unit(a)).powi(2);
        (0..shape.len()).map(square).sum::<f64>().sqrt()
    };
    let steps = length(&|_| 1.0).ceil().max(1.0) as usize;
    let mm = length(&|a| voxel_mm[a]);
    Ok((0..=steps)
        .map(|k| {
            let part = k as f64 / steps as f64;
            let mut weights = vec![(0, 1.0)];
            for (a, n) in shape.iter().enumerate() {
                let place = from[a] + part * (to[a] - from[a]);
                let first = (place.floor() as usize).min(n.saturating_sub(2));
                let rest = place - first as f64;
                let ends = [(first, 1.0 - rest), (first + 1, rest)];
                weights = weights
                    .iter()
                    .flat_map(|(j, w)| ends.map(|(i, share)| (j * n + i, w * share)))
                    .filter(|(_, w)| *w != 0.0)
                    .collect();
            }
            ProfilePoint { distance_mm: part * mm, weights }
        })
        .collect())
}

impl DensePosterior {
    /// Posterior of each point, exact; `label` is its number.
    pub fn profile(&self, points: &[ProfilePoint]) -> Vec<RegionRow> {
        let row = |(k, point): (usize, &ProfilePoint)| {
            let mut c = vec![0.0; self.mean().len()];
            point.weights.iter().for_each(|(j, w)| c[*j] += w);
            let [mean, sd] = self.functional(&c);
            let voxels = point.weights.len() as u64;
            RegionRow { label: k as u64, voxels, mean, sd, sd_mcse: 0.0 }
        };
        points.iter().enumerate().map(row).collect()
    }
}

impl SampledPosterior {
    /// Posterior of each point: solved means, standard deviations from the draws; `label`
    /// is its number.
    pub fn profile(&self, points: &[ProfilePoint]) -> Vec<RegionRow> {
        let row = |(k, point): (usize, &ProfilePoint)| {
            self.scalar(k as u64, point.weights.len() as u64, |x| point.of(x))
        };
        points.iter().enumerate().map(row).collect()
    }
}

impl ImageChains {
    /// Posterior of each point; `voxel` is its number.
    pub fn profile(&self, points: &[ProfilePoint]) -> Vec<VoxelRow> {
        let rows = points.iter().enumerate();
        rows.filter_map(|(k, point)| self.scalar(k as u64, |x| point.of(x))).collect()
    }

    /// How much of the image is above a limit, in voxels; `None` without draws.
    pub fn above(&self, limit: f64) -> Option<VoxelRow> {
        self.scalar(0, |x| x.iter().filter(|v| f64::from(**v) > limit).count() as f64)
    }
}

/// Mean, standard deviation and 5, 50 and 95 % points of how much of the image is above a
/// limit, in voxels, from draws.
pub fn above_of_draws(draws: &[Vec<f64>], limit: f64) -> [f64; 5] {
    let count = |x: &Vec<f64>| x.iter().filter(|v| **v > limit).count() as f64;
    let mut counts: Vec<f64> = draws.iter().map(count).collect();
    counts.sort_by(f64::total_cmp);
    let n = counts.len().max(1) as f64;
    let mean = counts.iter().sum::<f64>() / n;
    let square: f64 = counts.iter().map(|c| (c - mean).powi(2)).sum();
    let at = |q: f64| {
        let last = counts.len().saturating_sub(1);
        counts.get((q * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
    };
    [mean, (square / (n - 1.0).max(1.0)).sqrt(), at(0.05), at(0.5), at(0.95)]
}

fn start(points: &[ProfilePoint]) -> Columns {
    let mut out = Columns::default();
    out.counts("point", 0..points.len() as u64);
    out.numbers("distance_mm", "mm", points.iter().map(|p| p.distance_mm).collect());
    out
}

fn finish(out: Columns) -> Result<RecordBatch, ReconstructError> {
    out.finish().map_err(|e| ReconstructError::setting("the table", e.to_string()))
}

/// A row a point: `point, distance_mm, mean, sd, sd_mcse, q05, q50, q95`.
///
/// # Errors
/// Columns of unequal lengths.
pub fn profile_table(
    points: &[ProfilePoint],
    rows: &[RegionRow],
) -> Result<RecordBatch, ReconstructError> {
    let number = |f: fn(&RegionRow) -> f64| rows.iter().map(f).collect::<Vec<f64>>();
    let mut out = start(points);
    out.numbers("mean", "1/mm", number(|r| r.mean));
    marginals(&mut out, number(|r| r.mean), number(|r| r.sd), number(|r| r.sd_mcse));
    finish(out)
}

/// A row a point: `point, distance_mm` and the columns of
/// [`chain_table`](super::chain_table) after its first.
///
/// # Errors
/// Columns of unequal lengths.
pub fn profile_chain_table(
    points: &[ProfilePoint],
    rows: &[VoxelRow],
) -> Result<RecordBatch, ReconstructError> {
    let mut out = start(points);
    columns_of(&mut out, rows);
    finish(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn points_interpolate_a_plane() {
        let shape = [4, 5, 6];
        let voxel = [2.0, 1.0, 0.5];
        let (from, to) = ([0.0, 4.0, 1.5], [3.0, 0.25, 5.0]);
        let value = |j: usize| {
            let at = [j / 30, j / 6 % 5, j % 6].map(|i| i as f64);
            1.0 + 2.0 * at[0] - at[1] + 0.3 * at[2]
        };
        let x: Vec<f64> = (0..120).map(value).collect();
        let points = profile(&shape, &voxel, &from, &to).unwrap();
        assert_eq!(points.len(), 7);
        let length = (36.0 + 3.75_f64.powi(2) + 1.75_f64.powi(2)).sqrt();
        for (k, point) in points.iter().enumerate() {
            let part = k as f64 / 6.0;
            assert!((point.distance_mm - part * length).abs() < 1e-12);
            let at: Vec<f64> = (0..3).map(|a| from[a] + part * (to[a] - from[a])).collect();
            let exact = 1.0 + 2.0 * at[0] - at[1] + 0.3 * at[2];
            assert!((point.of(&x) - exact).abs() < 1e-12, "{k}");
            assert!((point.weights.iter().map(|w| w.1).sum::<f64>() - 1.0).abs() < 1e-12);
        }
        assert_eq!(
            profile(&[1, 3], &[1.0; 2], &[0.0, 2.0], &[0.0, 2.0]).unwrap()[0].weights,
            [(2, 1.0)]
        );
        assert!(profile(&shape, &voxel, &from[..2], &to).is_err());
        assert!(profile(&shape, &voxel, &from, &[3.1, 0.0, 0.0]).is_err());
        assert!(profile(&shape, &voxel, &[f64::NAN, 0.0, 0.0], &to).is_err());
    }

    #[test]
    fn areas_are_counts() {
        let draws: Vec<Vec<f64>> =
            (0..21).map(|d| (0..30).map(|i| if i < d { 1.0 } else { 0.0 }).collect()).collect();
        let [mean, sd, low, middle, high] = above_of_draws(&draws, 0.5);
        assert_eq!([mean, low, middle, high], [10.0, 1.0, 10.0, 19.0]);
        assert!((sd - (21.0_f64 * 22.0 / 12.0).sqrt()).abs() < 1e-12);
    }
}
