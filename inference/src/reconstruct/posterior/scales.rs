//! Widths of the coordinates of a sampler from draws and slopes.
//!
//! $$a_j = \Bigl(\frac{\mathrm{Var}(x_j)}{\mathrm{E}\,(\partial_j\ln p)^2}\Bigr)^{1/4}$$
//!
//! For a normal density with a diagonal precision this is the standard deviation, by either of the
//! two; of others it is the diagonal that is nearest in the Fisher divergence. Few draws are
//! helped by the neighbours: $\ln a$ is a mean of the own value with the weight of the number of
//! draws, and that of the block of neighbours with the weight [`TRUST`].
//!
//! Source: Seyboldt, Carlson & Carpenter 2026, arXiv:2603.18845. Validated by `widths_of_a_normal_density` below and
//! `chains_agree_with_nuts` in `inference/tests/suite/edge_posterior.rs`.

use microtome_kernels::abreast::{ABREAST, Wide};

/// Draws that outweigh the neighbours.
const TRUST: f64 = 50.0;

/// Sums over draws of all chains.
pub(super) struct Moments {
    draws: f64,
    sum: Vec<f64>,
    square: Vec<f64>,
    slope: Vec<f64>,
}

impl Moments {
    pub(super) fn new(n: usize) -> Self {
        Self { draws: 0.0, sum: vec![0.0; n], square: vec![0.0; n], slope: vec![0.0; n] }
    }

    /// Adds a draw of every chain, and the slopes there.
    pub(super) fn add(&mut self, x: &[Wide<ABREAST>], slopes: Option<&[Wide<ABREAST>]>) {
        self.draws += ABREAST as f64;
        for (j, x) in x.iter().enumerate() {
            for x in x.iter().map(|x| f64::from(*x)) {
                self.sum[j] += x;
                self.square[j] += x * x;
            }
        }
        for (sum, slopes) in self.slope.iter_mut().zip(slopes.unwrap_or_default()) {
            *sum += slopes.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
        }
    }

    /// Means.
    pub(super) fn means(&self) -> Vec<f64> {
        self.sum.iter().map(|s| s / self.draws.max(1.0)).collect()
    }

    /// The widths on a grid of a shape, slowest axis first; divided by their geometric mean
    /// where only what is wider than others is asked for. 1 where nothing moved.
    pub(super) fn widths(&self, shape: &[usize], relative: bool) -> Vec<f32> {
        let ln = |j: usize| {
            let mean = self.sum[j] / self.draws;
            let variance = self.square[j] / self.draws - mean * mean;
            let ln = 0.25 * (variance.ln() - (self.slope[j] / self.draws).ln());
            if ln.is_finite() { ln } else { 0.0 }
        };
        let own: Vec<f64> = (0..self.sum.len()).map(ln).collect();
        let around = neighbours(shape, &own);
        let mean = own.iter().sum::<f64>() / own.len().max(1) as f64;
        let level = if relative { mean } else { 0.0 };
        let both = own.iter().zip(&around);
        let share = TRUST / (TRUST + self.draws);
        both.map(|(o, a)| ((1.0 - share) * o + share * a - level).exp() as f32).collect()
    }
}

/// Means over the voxel and those next to it along every axis, diagonal ones too.
fn neighbours(shape: &[usize], values: &[f64]) -> Vec<f64> {
    let mut out = values.to_vec();
    for axis in 0..shape.len() {
        let (n, after): (usize, usize) = (shape[axis], shape[axis + 1..].iter().product());
        let from = out.clone();
        for (j, o) in out.iter_mut().enumerate() {
            let i = j / after % n;
            let range = i.saturating_sub(1)..(i + 2).min(n);
            let count = range.len() as f64;
            *o = range.map(|k| from[j + k * after - i * after]).sum::<f64>() / count;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use microtome_kernels::philox::PhiloxRng;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn widths_of_a_normal_density() {
        let sd = |j: usize| if j % 4 < 2 { 0.5 } else { 3.0 };
        let mut rng = PhiloxRng::new(1, 0, 0);
        let mut moments = Moments::new(12);
        for _ in 0..500 {
            let mut normal = |_| -> f32 { StandardNormal.sample(&mut rng) };
            let unit: Vec<Wide<ABREAST>> =
                (0..12).map(|_| std::array::from_fn(&mut normal)).collect();
            let each = |f: &dyn Fn(usize) -> f32| -> Vec<Wide<ABREAST>> {
                unit.iter().enumerate().map(|(j, u)| u.map(|u| u * f(j))).collect()
            };
            let x: Vec<Wide<ABREAST>> =
                each(&|j| sd(j)).iter().map(|x| x.map(|x| x + 7.0)).collect();
            moments.add(&x, Some(&each(&|j| 1.0 / sd(j))));
        }
        for mean in moments.means() {
            assert!((mean - 7.0).abs() < 0.15, "{mean}");
        }
        // Smoothing takes 0.6 % of the neighbours' logarithm.
        for (j, w) in moments.widths(&[3, 4], false).iter().enumerate() {
            assert!((w / sd(j) - 1.0).abs() < 0.04, "{j} {w}");
        }
        let relative = moments.widths(&[3, 4], true);
        assert!(relative.iter().map(|w| f64::from(w.ln())).sum::<f64>().abs() < 0.1);
        assert!((relative[2] / relative[0] - 6.0).abs() < 0.3);
        // Nothing moved: nothing is known.
        assert_eq!(Moments::new(4).widths(&[2, 2], true), [1.0; 4]);
    }

    #[test]
    fn neighbours_are_a_mean_of_nine() {
        let values: Vec<f64> = (0..12).map(|j| f64::from(j * j)).collect();
        let found = neighbours(&[3, 4], &values);
        assert_eq!(found[0], (0.0 + 1.0 + 16.0 + 25.0) / 4.0);
        let nine = [0, 1, 2, 4, 5, 6, 8, 9, 10].iter().map(|j| values[*j]).sum::<f64>();
        assert!((found[5] - nine / 9.0).abs() < 1e-12);
    }
}
