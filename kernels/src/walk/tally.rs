//! Sums over walkers, and means with standard errors.
//!
//! Walkers go in chunks of [`CHUNK`] neighbouring numbers. A chunk adds eight lanes, each
//! in the order of its walkers, and joins them by a fixed tree; chunks are added in order.
//! So the sums are equal to the bit for any number of threads.
//!
//! $$\hat S = \frac1N\sum_n w_n e^{i\varphi_n},\qquad
//!   \mathrm{se}^2 = \frac{1}{N-1}\Bigl(\frac1N\sum_n (w_n\cos\varphi_n)^2 - \hat S_r^2\Bigr)$$
//!
//! and the same for the imaginary part with the sine. Validated by `models/tests/suite/simulation.rs`.

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

/// Derivatives with respect to length, diffusivity and amplitude, real and imaginary, and their
/// squares.
pub(super) const SLOPES: usize = 12;

/// Sums over walkers of every measurement and compartment.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Tally {
    /// Walkers that started in each compartment.
    pub walkers: Vec<u64>,
    /// Real, imaginary, and their squares `[measurement][compartment]`.
    pub(crate) sums: Vec<[f64; 4]>,
    /// Real, imaginary and their squares of every derivative `[measurement]`; none where
    /// none are asked for.
    pub(crate) slopes: Vec<[f64; SLOPES]>,
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

    /// Of one compartment with derivatives.
    pub(crate) fn with_slopes(measurements: usize) -> Self {
        Self { slopes: vec![[0.0; SLOPES]; measurements], ..Self::new(measurements, 1) }
    }

    /// Compartments, measurements times compartments, and measurements with derivatives.
    pub fn counts(&self) -> [usize; 3] {
        [self.walkers.len(), self.sums.len(), self.slopes.len()]
    }

    /// All numbers as words, for [`Tally::from_words`].
    pub fn words(&self) -> Vec<u64> {
        let mut out: Vec<u64> = self.counts().map(|n| n as u64).to_vec();
        out.extend([self.steps, self.escaped, self.stopped]);
        out.extend(&self.walkers);
        out.extend(self.sums.iter().flatten().map(|v| v.to_bits()));
        out.extend(self.slopes.iter().flatten().map(|v| v.to_bits()));
        out
    }

    /// The sums of [`Tally::words`], to the bit; `None` when the numbers do not fit together.
    pub fn from_words(words: &[u64]) -> Option<Self> {
        let [walkers, sums, slopes, steps, escaped, stopped] = *words.first_chunk::<6>()?;
        let size = |n: u64, by: usize| usize::try_from(n).ok()?.checked_mul(by);
        let counts = [size(walkers, 1)?, size(sums, 4)?, size(slopes, SLOPES)?];
        let (walkers, rest) = words[6..].split_at_checked(counts[0])?;
        let (sums, slopes) = rest.split_at_checked(counts[1])?;
        if slopes.len() != counts[2] {
            return None;
        }
        let number = |v: &u64| f64::from_bits(*v);
        let sums: Vec<f64> = sums.iter().map(number).collect();
        let slopes: Vec<f64> = slopes.iter().map(number).collect();
        Some(Self {
            walkers: walkers.to_vec(),
            sums: sums.as_chunks::<4>().0.to_vec(),
            slopes: slopes.as_chunks::<SLOPES>().0.to_vec(),
            steps,
            escaped,
            stopped,
        })
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
        for (a, b) in self.slopes.iter_mut().zip(&other.slopes) {
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
        Estimate::of(sum, n)
    }

    /// The derivatives of a measurement with respect to length, diffusivity and amplitude, as
    /// [`Tally::estimate`]; `None` where none were asked for.
    pub fn slopes(&self, measurement: usize, factor: f64) -> Option<[Estimate; 3]> {
        let sums = self.slopes.get(measurement)?;
        let n = self.all_walkers() as f64;
        let of = |p: usize| {
            let [a, b, c, d] = [0, 1, 2, 3].map(|k: usize| sums[4 * p + k]);
            let square = factor * factor;
            Estimate::of([a * factor, b * factor, c * square, d * square], n)
        };
        Some([of(0), of(1), of(2)])
    }
}

impl Estimate {
    /// Means and errors from sums and sums of squares.
    fn of(sum: [f64; 4], n: f64) -> Self {
        let (real, imaginary) = (sum[0] / n, sum[1] / n);
        let error = |squares: f64, mean: f64| {
            // Rounding can make the difference of a constant negative.
            ((squares / n - mean * mean).max(0.0) / (n - 1.0)).sqrt()
        };
        Self {
            real,
            imaginary,
            se_real: error(sum[2], real),
            se_imaginary: error(sum[3], imaginary),
        }
    }
}
