//! Autocovariances of half chains, lag by lag.
//!
//! $$\gamma_t = \frac1{mn}\sum_{j=1}^m\sum_{i=1}^{n-t}(y_{j,i}-\bar y_j)(y_{j,i+t}-\bar y_j)$$
//!
//! for $m$ rows of $n$ draws, with the divisor $n$ at every lag. Geyer's sequence
//! of a sampler that moves ends after a few lags, so each lag is summed when it
//! is asked for; a Fourier transform would compute all of them. For an indicator
//! series the sum is a count of common bits,
//!
//! $$\gamma_t = \frac1{mn}\sum_j\left[\#\{i: y_{j,i}=y_{j,i+t}=1\}
//!   - \bar y_j(2k_j - e_{j,t}) + (n-t)\bar y_j^2\right]$$
//!
//! with $k_j$ the ones of row $j$ and $e_{j,t}$ those among its first $t$ plus
//! those among its last $t$ draws: 64 draws an instruction.
//!
//! Source: Geyer 1992, doi:10.1214/ss/1177011137, sec. 3.1 (the estimator).
//! Validated by `indicator_and_real_series_agree` below and `tests/suite/arviz.rs`.

use super::moments::{mean, sum_of};

/// What the effective sample size needs of a series.
pub(super) trait Autocovariance {
    /// Draws of a row.
    fn draws(&self) -> usize;
    /// Means of the rows.
    fn means(&self) -> &[f64];
    /// The autocovariance at lag 0, mean over the rows.
    fn at_zero(&self) -> f64;
    /// The autocovariance at the next lag: 1 at the first call after loading.
    fn next_lag(&mut self) -> f64;
}

/// A real series.
#[derive(Debug, Clone, Default)]
pub(super) struct RealSeries {
    draws: usize,
    lag: usize,
    centred: Vec<f64>,
    means: Vec<f64>,
}

impl RealSeries {
    /// Takes a series `[row, draw]` with rows of `draws`.
    pub(super) fn load(&mut self, series: &[f64], draws: usize) {
        self.draws = draws;
        self.lag = 0;
        self.means.clear();
        self.centred.clear();
        for row in series.chunks_exact(draws) {
            let m = mean(row);
            self.means.push(m);
            self.centred.extend(row.iter().map(|v| v - m));
        }
    }

    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 2] {
        [self.centred.capacity(), self.means.capacity()]
    }
}

impl Autocovariance for RealSeries {
    fn draws(&self) -> usize {
        self.draws
    }

    fn means(&self) -> &[f64] {
        &self.means
    }

    fn at_zero(&self) -> f64 {
        sum_of(&self.centred, |v| v * v) / self.centred.len() as f64
    }

    fn next_lag(&mut self) -> f64 {
        self.lag += 1;
        let mut sum = 0.0;
        for row in self.centred.chunks_exact(self.draws) {
            sum += dot(&row[..self.draws - self.lag], &row[self.lag..]);
        }
        sum / self.centred.len() as f64
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    let (xs, x_rest) = x.as_chunks::<8>();
    let (ys, y_rest) = y.as_chunks::<8>();
    let mut r = [0.0; 8];
    for (x, y) in xs.iter().zip(ys) {
        for l in 0..8 {
            r[l] += x[l] * y[l];
        }
    }
    let rest = x_rest.iter().zip(y_rest).fold(0.0, |s, (x, y)| s + x * y);
    ((r[0] + r[4]) + (r[2] + r[6])) + ((r[1] + r[5]) + (r[3] + r[7])) + rest
}

/// A series of zeros and ones.
#[derive(Debug, Clone, Default)]
pub(super) struct IndicatorSeries {
    draws: usize,
    lag: usize,
    /// Words of a row: one more than its bits need, so that a shift may read on.
    words: usize,
    bits: Vec<u64>,
    /// Ones of each row.
    ones: Vec<u32>,
    /// Ones of each row among its first and its last `lag` draws.
    edges: Vec<u32>,
    means: Vec<f64>,
}

impl IndicatorSeries {
    /// Takes the indicator of `series[row, draw] <= threshold`.
    pub(super) fn load(&mut self, series: &[f64], draws: usize, threshold: f64) {
        self.draws = draws;
        self.lag = 0;
        self.words = draws.div_ceil(64) + 1;
        self.bits.clear();
        self.ones.clear();
        self.means.clear();
        for row in series.chunks_exact(draws) {
            let mut ones = 0;
            for part in row.chunks(64) {
                let word =
                    part.iter().rev().fold(0, |word, v| word << 1 | u64::from(*v <= threshold));
                ones += word.count_ones();
                self.bits.push(word);
            }
            self.bits.push(0);
            self.ones.push(ones);
            self.means.push(f64::from(ones) / draws as f64);
        }
        self.edges.clear();
        self.edges.resize(self.ones.len(), 0);
    }

    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 4] {
        [self.bits.capacity(), self.ones.capacity(), self.edges.capacity(), self.means.capacity()]
    }

    /// Whether all draws are zero or all are one.
    pub(super) fn is_constant(&self) -> bool {
        self.ones.iter().all(|k| *k == 0) || self.ones.iter().all(|k| *k as usize == self.draws)
    }
}

impl Autocovariance for IndicatorSeries {
    fn draws(&self) -> usize {
        self.draws
    }

    fn means(&self) -> &[f64] {
        &self.means
    }

    fn at_zero(&self) -> f64 {
        let sum: f64 =
            self.ones.iter().zip(&self.means).map(|(k, m)| f64::from(*k) * (1.0 - m)).sum();
        sum / (self.draws * self.means.len()) as f64
    }

    fn next_lag(&mut self) -> f64 {
        let (first, last) = (self.lag, self.draws - 1 - self.lag);
        self.lag += 1;
        let (skip, shift) = (self.lag / 64, self.lag % 64);
        let kept = (self.draws - self.lag) as f64;
        let mut sum = 0.0;
        for (((row, k), edge), m) in
            self.bits.chunks_exact(self.words).zip(&self.ones).zip(&mut self.edges).zip(&self.means)
        {
            let bit = |i: usize| (row[i / 64] >> (i % 64) & 1) as u32;
            *edge += bit(first) + bit(last);
            // `<< 1 << (63 - shift)` is a shift by 64 - shift, also for shift 0.
            let common: u32 = row
                .iter()
                .zip(row[skip..].windows(2))
                .map(|(a, b)| (a & (b[0] >> shift | b[1] << 1 << (63 - shift))).count_ones())
                .sum();
            sum += f64::from(common) - m * (2.0 * f64::from(*k) - f64::from(*edge)) + kept * m * m;
        }
        sum / (self.draws * self.means.len()) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn indicator_and_real_series_agree(
            draws in 2_usize..210, x in proptest::collection::vec(0.0_f64..1.0, 420), level in 0.0_f64..1.0
        ) {
            let x = &x[..2 * draws];
            let ones: Vec<f64> = x.iter().map(|v| f64::from(*v <= level)).collect();
            let (mut real, mut indicator) = (RealSeries::default(), IndicatorSeries::default());
            real.load(&ones, draws);
            indicator.load(x, draws, level);
            prop_assert_eq!(real.means(), indicator.means());
            prop_assert!((real.at_zero() - indicator.at_zero()).abs() < 1e-14);
            for lag in 1..draws {
                let mut truth = 0.0;
                for (row, m) in ones.chunks_exact(draws).zip(indicator.means()) {
                    truth += (lag..draws).map(|i| (row[i - lag] - m) * (row[i] - m)).sum::<f64>();
                }
                truth /= ones.len() as f64;
                let (a, b) = (real.next_lag(), indicator.next_lag());
                prop_assert!((a - truth).abs() < 1e-14 && (b - truth).abs() < 1e-14, "{} {} {}", a, b, truth);
            }
        }
    }
}
