//! Sums over walkers, and means with standard errors.
//!
//! Walkers go in chunks of [`CHUNK`] neighbouring numbers. A chunk adds eight lanes, each
//! in the order of its walkers, and joins them by a fixed tree; chunks are added in order.
//! So the sums are equal to the bit for any number of threads.
//!
//! $$\hat S = \frac1N\sum_n w_n e^{i\varphi_n},\qquad
//!   \mathrm{se}^2 = \frac{1}{N-1}\Bigl(\frac1N\sum_n (w_n\cos\varphi_n)^2 - \hat S_r^2\Bigr)$$
//!
//! and the same for the imaginary part with the sine. Validated by `tests/walk.rs`.

/// Walkers of a chunk.
pub const CHUNK: usize = 512;

/// A complex signal with standard errors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Real part.
    pub real: f64,
    /// Imaginary part.
    pub imaginary: f64,
    /// Standard error of the real part.
    pub se_real: f64,
    /// Standard error of the imaginary part.
    pub se_imaginary: f64,
}

/// Sums over walkers of every measurement and compartment.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Tally {
    /// Walkers that started in each compartment.
    pub walkers: Vec<u64>,
    /// Real, imaginary, and their squares `[measurement][compartment]`.
    pub(crate) sums: Vec<[f64; 4]>,
    /// Steps of all walkers.
    pub steps: u64,
    /// Walkers found outside of their walls at the end.
    pub escaped: u64,
    /// Steps with too many hits, whose rest was left out.
    pub stopped: u64,
}

impl Tally {
    pub(crate) fn new(measurements: usize, compartments: usize) -> Self {
        Self {
            walkers: vec![0; compartments],
            sums: vec![[0.0; 4]; measurements * compartments],
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (a, b) in self.walkers.iter_mut().zip(&other.walkers) {
            *a += b;
        }
        for (a, b) in self.sums.iter_mut().zip(&other.sums) {
            for (a, b) in a.iter_mut().zip(b) {
                *a += b;
            }
        }
        self.steps += other.steps;
        self.escaped += other.escaped;
        self.stopped += other.stopped;
    }

    /// Walkers of all compartments.
    pub fn all_walkers(&self) -> u64 {
        self.walkers.iter().sum()
    }

    /// The mean over the walkers of a compartment; of all when `None`. NaN without walkers,
    /// and so are the errors with one.
    ///
    /// `factor` is what every walker of a compartment is multiplied by.
    pub fn estimate(
        &self,
        measurement: usize,
        compartment: Option<usize>,
        factor: impl Fn(usize) -> f64,
    ) -> Estimate {
        let all = self.walkers.len();
        let (mut sum, mut n) = ([0.0; 4], 0.0);
        for c in compartment.map_or(0..all, |c| c..c + 1) {
            let f = factor(c);
            let s = self.sums[measurement * all + c];
            for (k, v) in s.into_iter().enumerate() {
                sum[k] += v * if k < 2 { f } else { f * f };
            }
            n += self.walkers[c] as f64;
        }
        let (real, imaginary) = (sum[0] / n, sum[1] / n);
        let error = |squares: f64, mean: f64| {
            // Rounding can make the difference of a constant negative.
            ((squares / n - mean * mean).max(0.0) / (n - 1.0)).sqrt()
        };
        Estimate {
            real,
            imaginary,
            se_real: error(sum[2], real),
            se_imaginary: error(sum[3], imaginary),
        }
    }
}
