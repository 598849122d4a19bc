//! The simultaneous test that ranks are uniform.
//!
//! Of $N$ ranks on $0 \dots L$, $K = L + 1$, let $X_i$ be the number below $i$. Under
//! uniformity $X_i \sim \mathrm{Bin}(N, i/K)$, with two-sided tails
//! $$\gamma_i(x) = 2\min\{P(X_i \le x),\ P(X_i \ge x)\},\qquad T = \min_{0<i<K} \gamma_i(X_i).$$
//! The p value is $P(T' \le T)$. Its complement, the probability that the whole path
//! $X_1 \dots X_{K-1}$ stays where $\gamma_i > T$, follows exactly by a forward recursion: the
//! increments are independent Poisson numbers of mean $N/K$, given their sum $N$,
//! $$w_i(x') = \sum_{x \in A_{i-1}} w_{i-1}(x)\,\mathrm{Poi}(x' - x;\,N/K)\ \ (x' \in A_i),\qquad
//!   P = \frac{w_K(N)}{\mathrm{Poi}(N;\,N)}.$$
//! A band of level $\alpha$ is the set $\gamma_i > t$ with the largest $t$ for which
//! $P \ge 1 - \alpha$.
//!
//! Source: Säilynoja, Bürkner & Vehtari 2022, doi:10.1007/s11222-021-10090-6, section 2 (test and
//! band; their recursion is over conditional binomials). Validated by
//! `probabilities_equal_enumeration`, `bands_have_their_level` and `p_values_are_uniform` below.

use std::ops::RangeInclusive;

/// The distribution of the cumulative counts of uniform ranks.
#[derive(Debug, Clone)]
pub struct RankEcdf {
    simulations: usize,
    bins: usize,
    /// $\gamma_i(x)$, `[i - 1, x]`.
    tails: Vec<f64>,
    /// Poisson probabilities of an increment.
    kernel: Vec<f64>,
    /// 1 / Poi(N; N).
    scale: f64,
}

impl RankEcdf {
    /// For `simulations` ranks on 0 to `draws`.
    pub fn new(simulations: usize, draws: usize) -> Self {
        let (n, bins) = (simulations, draws + 1);
        let mut ln_factorial = vec![0.0; n + 1];
        for k in 1..=n {
            ln_factorial[k] = ln_factorial[k - 1] + (k as f64).ln();
        }
        let mut tails = Vec::with_capacity((bins - 1) * (n + 1));
        for i in 1..bins {
            let z = i as f64 / bins as f64;
            let p: Vec<f64> = (0..=n)
                .map(|x| {
                    let ways = ln_factorial[n] - ln_factorial[x] - ln_factorial[n - x];
                    (ways + x as f64 * z.ln() + (n - x) as f64 * (1.0 - z).ln()).exp()
                })
                .collect();
            // Both tails are summed from their thin ends.
            let mut above = vec![0.0; n + 2];
            for x in (0..=n).rev() {
                above[x] = above[x + 1] + p[x];
            }
            let mut below = 0.0;
            for x in 0..=n {
                below += p[x];
                tails.push(2.0 * below.min(above[x]));
            }
        }
        let poisson = |k: usize, mean: f64| -> f64 {
            if mean == 0.0 {
                f64::from(k == 0)
            } else {
                (k as f64 * mean.ln() - mean - ln_factorial[k]).exp()
            }
        };
        let kernel = (0..=n).map(|k| poisson(k, n as f64 / bins as f64)).collect();
        Self { simulations, bins, tails, kernel, scale: 1.0 / poisson(n, n as f64) }
    }

    fn tails_at(&self, i: usize) -> &[f64] {
        let width = self.simulations + 1;
        &self.tails[(i - 1) * width..i * width]
    }

    /// Counts below i for i from 1 to K - 1.
    ///
    /// # Shapes
    /// `ranks` `[simulation]`.
    pub fn cumulative(&self, ranks: &[u32]) -> Vec<usize> {
        let mut counts = vec![0; self.bins];
        for r in ranks {
            counts[(*r as usize).min(self.bins - 1)] += 1;
        }
        let mut sum = 0;
        counts[..self.bins - 1]
            .iter()
            .map(|c| {
                sum += c;
                sum
            })
            .collect()
    }

    /// The counts at `i` whose tails are larger than `t`; empty where there are none.
    fn allowed(&self, i: usize, t: f64) -> Option<RangeInclusive<usize>> {
        let tails = self.tails_at(i);
        let low = tails.iter().position(|g| *g > t)?;
        let high = tails.iter().rposition(|g| *g > t)?;
        Some(low..=high)
    }

    /// The probability that all tails of uniform ranks are larger than `t`.
    pub fn probability_inside(&self, t: f64) -> f64 {
        let n = self.simulations;
        // Before the first point the count is 0.
        let (mut from, mut weight) = (0, vec![1.0]);
        for i in 1..=self.bins {
            let range = if i == self.bins { Some(n..=n) } else { self.allowed(i, t) };
            let Some(range) = range else { return 0.0 };
            let start = *range.start();
            let next = range
                .map(|x| {
                    weight
                        .iter()
                        .enumerate()
                        .take_while(|(k, _)| from + k <= x)
                        .map(|(k, w)| w * self.kernel[x - from - k])
                        .sum()
                })
                .collect();
            (from, weight) = (start, next);
        }
        (weight[0] * self.scale).min(1.0)
    }

    /// The p value of ranks under uniformity.
    ///
    /// # Shapes
    /// `ranks` `[simulation]`, each from 0 to the number of draws.
    pub fn p_value(&self, ranks: &[u32]) -> f64 {
        let tails = self.cumulative(ranks).into_iter().enumerate();
        let t = tails.map(|(i, x)| self.tails_at(i + 1)[x]).fold(2.0, f64::min);
        if t >= 1.0 {
            return 1.0;
        }
        // Where the complement is lost in rounding, one side of one point bounds it.
        (1.0 - self.probability_inside(t)).max(0.5 * t).min(1.0)
    }

    /// The simultaneous band of level `alpha`: smallest and largest count at each of the
    /// points 1 to K - 1.
    pub fn band(&self, alpha: f64) -> Vec<[usize; 2]> {
        // ln t: at alpha/K even the sum of all tails is below alpha.
        let (mut low, mut high) = ((alpha / self.bins as f64).ln() - 1.0, alpha.ln());
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if self.probability_inside(middle.exp()) >= 1.0 - alpha {
                low = middle;
            } else {
                high = middle;
            }
        }
        (1..self.bins)
            .map(|i| self.allowed(i, low.exp()).map_or([0, 0], |r| [*r.start(), *r.end()]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use microtome_kernels::philox::PhiloxRng;
    use rand::RngExt;

    fn uniform(n: usize, bins: u32, seed: u64) -> Vec<u32> {
        let mut rng = PhiloxRng::new(seed, 0, 0);
        (0..n).map(|_| rng.random_range(0..bins)).collect()
    }

    #[test]
    fn probabilities_equal_enumeration() {
        // All 4^5 = 1024 equally likely sets of ranks.
        let (n, bins) = (5_usize, 4_usize);
        let ecdf = RankEcdf::new(n, bins - 1);
        let total = bins.pow(n as u32);
        let sets: Vec<Vec<u32>> = (0..total)
            .map(|code| (0..n).map(|k| (code / bins.pow(k as u32) % bins) as u32).collect())
            .collect();
        let statistic = |ranks: &[u32]| {
            let below = |i: u32| ranks.iter().filter(|r| **r < i).count();
            (1..bins as u32).map(|i| ecdf.tails_at(i as usize)[below(i)]).fold(2.0, f64::min)
        };
        let all: Vec<f64> = sets.iter().map(|s| statistic(s)).collect();
        for t in [0.01, 0.1, 0.3, 0.7] {
            let inside = all.iter().filter(|s| **s > t).count() as f64 / total as f64;
            assert!((ecdf.probability_inside(t) - inside).abs() < 1e-12, "{t}: {inside}");
        }
        for (ranks, own) in sets.iter().zip(&all).step_by(37) {
            let p = all.iter().filter(|s| *s <= own).count() as f64 / total as f64;
            let found = ecdf.p_value(ranks);
            assert!((found - p).abs() < 1e-12, "{ranks:?}: {found} {p}");
        }
    }

    #[test]
    fn tails_are_binomial() {
        let ecdf = RankEcdf::new(10, 4);
        // P(Bin(10, 1/5) <= 0) = 0.8^10; P(Bin(10, 2/5) >= 9) = 10 0.4^9 0.6 + 0.4^10.
        assert!((ecdf.tails_at(1)[0] - 2.0 * 0.8_f64.powi(10)).abs() < 1e-14);
        let upper = 10.0 * 0.4_f64.powi(9) * 0.6 + 0.4_f64.powi(10);
        assert!((ecdf.tails_at(2)[9] - 2.0 * upper).abs() < 1e-14);
    }

    #[test]
    fn bands_have_their_level() {
        let (n, bins, alpha) = (200, 20_u32, 0.1);
        let ecdf = RankEcdf::new(n, bins as usize - 1);
        let band = ecdf.band(alpha);
        let trials = 4000;
        let outside = (0..trials)
            .filter(|trial| {
                let counts = ecdf.cumulative(&uniform(n, bins, *trial));
                counts.iter().zip(&band).any(|(x, [low, high])| x < low || x > high)
            })
            .count() as f64
            / trials as f64;
        // Counts are whole numbers, so the level is reached from below.
        let error = (alpha * (1.0 - alpha) / trials as f64).sqrt();
        assert!(outside < alpha + 4.0 * error, "{outside}");
        assert!(outside > 0.5 * alpha, "{outside}");
    }

    #[test]
    fn p_values_are_uniform() {
        let (n, bins) = (300, 100_u32);
        let ecdf = RankEcdf::new(n, bins as usize - 1);
        let trials = 2000;
        let p: Vec<f64> =
            (0..trials).map(|t| ecdf.p_value(&uniform(n, bins, 10_000 + t))).collect();
        for level in [0.01, 0.05, 0.2, 0.5, 0.9] {
            let below = p.iter().filter(|p| **p <= level).count() as f64 / trials as f64;
            let error = (level * (1.0 - level) / trials as f64).sqrt();
            assert!((below - level).abs() < 4.0 * error, "{below} at {level}");
        }
    }

    #[test]
    fn bent_ranks_have_small_p_values() {
        let (n, bins) = (500, 100_u32);
        let ecdf = RankEcdf::new(n, bins as usize - 1);
        let even: Vec<u32> = (0..n as u32).map(|i| i % bins).collect();
        assert!(ecdf.p_value(&even) > 0.999);
        let narrow: Vec<u32> = even.iter().map(|r| 25 + r / 2).collect();
        let wide: Vec<u32> = even.iter().map(|r| if r % 5 == 0 { 0 } else { *r }).collect();
        for bent in [narrow, wide, vec![0; n]] {
            let p = ecdf.p_value(&bent);
            assert!(p < 1e-6 && p > 0.0, "{p}");
        }
    }
}
