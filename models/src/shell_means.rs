//! The means of measured shells over their directions: the data of a spherical mean
//! model.
//!
//! $$\bar y_s = \frac1{n_s}\sum_{i\in s}y_i,\qquad \mathrm{sd}(\bar y_s) = \frac{\sigma}{\sqrt{n_s}}$$
//!
//! b = 0 images are kept one by one: they have no direction, their likelihood is
//! that of their mean, and their scatter tells σ. Weighted measurements of equal
//! times make one shell while neighbouring b-values are less than 0.05 ms/µm² apart
//! (scanners write 995, 1000 and 1005 s/mm²); its b is their mean.
//!
//! *Rician noise.* The mean of magnitudes, $\overline{m(S)}$, is larger than
//! $\bar S$, most in directions whose signal is in the noise, and how many these are
//! depends on how the signal spreads over directions. The second moment has no such
//! bias: $\overline{y^2} = \overline{S^2} + 2\sigma^2$. So a spread of two parameters,
//! $S = A e^{-ct^2}$ with $t$ uniform in (0, 1) (a fibre), is matched to both moments,
//! $$A^2\int_0^1 e^{-2ct^2}dt = \overline{y^2} - 2\sigma^2,\qquad \int_0^1 m\big(Ae^{-ct^2}\big)dt = \bar y,$$
//! and $A\int_0^1 e^{-ct^2}dt$ takes the place of $\bar y$ (moments that leave no spread are
//! those of one signal, $m(S) = \bar y$). Both moments are averages
//! over the shell before anything nonlinear is done to them. The corrected mean is
//! then taken as normal with $\sigma/\sqrt{n_s}$, and the noise must be known.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $y, S, \sigma, A$ | of the signals | magnitude, signal, noise of one channel, largest signal |
//! | $n_s$ | 1 | measurements of the shell |
//! | $m(S)$ | of the signals | mean magnitude: $\sigma\sqrt{\pi/2}\,e^{-x/2}[(1+x)I_0(x/2) + xI_1(x/2)]$, $x = S^2/2\sigma^2$ |
//!
//! Source: means: Kaden et al. 2016, doi:10.1002/mrm.25734; $m$: Gudbjartsson & Patz
//! 1995, doi:10.1002/mrm.1910340618, and Koay & Basser 2006, doi:10.1016/j.jmr.2006.01.016, eq. 4.
//! Validated by `rician_means_are_corrected` and `shells_are_averaged` below.

use crate::acquisition::{Acquisition, B0_MAX_MS_PER_UM2, Shell};
use crate::noise::NoiseKind;
use microtome_kernels::legendre::half_rule;
use microtome_kernels::special::{bessel_ratio, ln_i0e};

/// Weighted measurements whose neighbours in b are closer than this (ms/µm²) are of
/// one shell.
const SAME_SHELL: f64 = 0.05;

/// Which measurements make which mean, and the acquisition of the means.
#[derive(Debug, Clone)]
pub struct ShellMeans {
    acquisition: Acquisition,
    members: Vec<Vec<usize>>,
}

impl ShellMeans {
    /// Groups the measurements.
    pub fn new(acquisition: &Acquisition) -> Self {
        let b = acquisition.b_ms_per_um2();
        let mut members: Vec<Vec<usize>> = acquisition.b0_measurements().map(|i| vec![i]).collect();
        let mut of_shell = vec![Vec::new(); acquisition.shells().len()];
        for (i, s) in acquisition.shell_of().iter().enumerate() {
            if b[i] > B0_MAX_MS_PER_UM2 {
                of_shell[*s].push(i);
            }
        }
        // Shells are sorted by times, then b.
        let times = |i: usize| {
            let Shell { delta_ms, big_delta_ms, te_ms, tr_ms, b_delta, waveform, .. } =
                &acquisition.shells()[acquisition.shell_of()[i]];
            (*big_delta_ms, *delta_ms, *te_ms, *tr_ms, *b_delta, waveform.clone())
        };
        // TE is the last key of the order, so equal times need not be neighbours.
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for list in of_shell.into_iter().filter(|l| !l.is_empty()) {
            let first = list[0];
            let joins = |l: usize| times(l) == times(first) && b[first] - b[l] < SAME_SHELL;
            let found = groups.iter_mut().rev().find(|g| g.last().is_some_and(|&l| joins(l)));
            match found {
                Some(group) => group.extend(list),
                None => groups.push(list),
            }
        }
        members.extend(groups);
        let mean = |v: &[f64], g: &[usize]| g.iter().map(|&i| v[i]).sum::<f64>() / g.len() as f64;
        let means = members.iter().map(|g| mean(b, g)).collect();
        let acquisition = acquisition.of_means(&members, means);
        Self { acquisition, members }
    }

    /// The acquisition of the means, each with the number of its measurements.
    pub fn acquisition(&self) -> &Acquisition {
        &self.acquisition
    }

    /// The measurements of each mean.
    pub fn members(&self) -> &[Vec<usize>] {
        &self.members
    }

    /// The means of the signals of one voxel.
    ///
    /// # Shapes
    /// `y` `[measurement]`, result `[mean]`; NaN where a signal is not finite, or
    /// negative under Rician noise.
    ///
    /// # Units
    /// `sigma` in the unit of the signals; it is used for Rician noise only.
    pub fn average(&self, noise: NoiseKind, y: &[f64], sigma: f64) -> Vec<f64> {
        let correct = noise == NoiseKind::Rician;
        self.members
            .iter()
            .map(|group| {
                let n = group.len() as f64;
                let mean = group.iter().map(|&i| y[i]).sum::<f64>() / n;
                if !correct {
                    return mean;
                }
                if group.iter().any(|&i| y[i] < 0.0) {
                    return f64::NAN;
                }
                let square = group.iter().map(|&i| y[i] * y[i]).sum::<f64>() / n;
                rician_mean(mean, square, sigma)
            })
            .collect()
    }
}

/// The mean magnitude of a signal under Rician noise of σ = 1.
fn magnitude(signal: f64) -> f64 {
    let x = 0.5 * signal * signal;
    let scaled = (1.0 + x + x * bessel_ratio(0.5 * x)) * ln_i0e(0.5 * x).exp();
    std::f64::consts::FRAC_PI_2.sqrt() * scaled
}

/// The mean signal behind a mean magnitude and a mean square of magnitudes.
fn rician_mean(mean: f64, square: f64, sigma: f64) -> f64 {
    let rule = half_rule(1);
    let average = |f: &dyn Fn(f64) -> f64| -> f64 {
        rule.nodes.iter().zip(&rule.weights).map(|(t, w)| w * f(t * t)).sum()
    };
    let power = (square / (sigma * sigma) - 2.0).max(0.0);
    // The largest signal for a decay c.
    let amplitude = |c: f64| (power / average(&|u| (-2.0 * c * u).exp())).sqrt();
    let magnitudes = |c: f64| {
        let a = amplitude(c);
        average(&|u| magnitude(a * (-c * u).exp()))
    };
    let target = mean / sigma;
    if target.is_nan() {
        return f64::NAN;
    }
    // Wider spreads of one second moment have a smaller mean. Moments that leave no
    // spread are those of one signal.
    if magnitudes(0.0) > target {
        let c = crossing(60.0, |c| target - magnitudes(c));
        return sigma * amplitude(c) * average(&|u| (-c * u).exp());
    }
    sigma * crossing(target, |s| magnitude(s) - target)
}

/// Where a rising function changes its sign between 0 and `high`, or the end nearer to it.
fn crossing(high: f64, rising: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, high);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if rising(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use microtome_kernels::philox::{Philox, normal_pair};

    /// Directions of a spiral on the half sphere.
    fn directions(n: usize) -> Vec<[f64; 3]> {
        (0..n)
            .map(|i| {
                let z = (i as f64 + 0.5) / n as f64;
                let (s, c) = (2.399_963_229_728_653 * i as f64).sin_cos();
                let r = (1.0 - z * z).sqrt();
                [r * c, r * s, z]
            })
            .collect()
    }

    #[test]
    fn shells_are_averaged() {
        let b = [0.0, 0.995, 2.0, 1.0, 0.005, 1.005, 2.01];
        let x = [1.0, 0.0, 0.0];
        let means = ShellMeans::new(&Acquisition::from_b(&b, &[x; 7], None, None).unwrap());
        assert_eq!(means.members(), [vec![0], vec![4], vec![1, 3, 5], vec![2, 6]]);
        let a = means.acquisition();
        assert_eq!(a.repeats(), Some([1.0, 1.0, 3.0, 2.0].as_slice()));
        for (b, expected) in a.b_ms_per_um2().iter().zip([0.0, 0.005, 1.0, 2.005]) {
            assert!((b - expected).abs() < 1e-15);
        }
        let y = [10.0, 4.0, 2.0, 5.0, 9.0, 6.0, 1.0];
        assert_eq!(means.average(NoiseKind::Gaussian, &y, f64::NAN), [10.0, 9.0, 5.0, 1.5]);
        // Echo times of a shell make shells of their own.
        let te = vec![50.0, 50.0, 50.0, 90.0, 90.0, 90.0, 90.0];
        let means = ShellMeans::new(&Acquisition::from_b(&b, &[x; 7], None, Some(te)).unwrap());
        assert_eq!(means.members()[2..], [vec![1], vec![3, 5], vec![2], vec![6]]);
    }

    #[test]
    fn rician_means_are_corrected() {
        assert!((magnitude(0.0) - 1.253_314_137_315_500_3).abs() < 1e-15);
        // mpmath: sqrt(pi/2) L_1/2(-x) at S = 1 and 10.
        for s in [0.0, 0.5, 3.0, 40.0] {
            let one = 0.1 * magnitude(s);
            assert!((rician_mean(one, one * one, 0.1) - 0.1 * s).abs() < 1e-9, "{s}");
        }
        assert!((magnitude(1.0) - 1.548_572_460_551_145).abs() < 1e-14);
        assert!((magnitude(10.0) - 10.050_126_936_677_42).abs() < 1e-12);
        // A fibre and water, a crossing, a fibre alone, two sigmas.
        let fibre = |g: &[f64; 3], k: usize, d: f64| (-3.0 * d * g[k] * g[k]).exp();
        type Signal<'a> = &'a dyn Fn(&[f64; 3]) -> f64;
        let signals: [Signal<'_>; 3] = [
            &|g| 0.7 * fibre(g, 0, 1.7) + 0.3 * (-9.0_f64).exp(),
            &|g| 0.35 * fibre(g, 0, 1.7) + 0.35 * fibre(g, 1, 1.7) + 0.3 * fibre(g, 0, 0.5) * 0.2,
            &|g| fibre(g, 2, 2.2),
        ];
        let g = directions(90);
        for sigma in [0.03, 0.1] {
            for (case, signal) in signals.iter().enumerate() {
                let truth = g.iter().map(signal).sum::<f64>() / 90.0;
                let (mut plain, mut corrected) = (0.0, 0.0);
                let repetitions = 400_u64;
                for r in 0..repetitions {
                    let noise = Philox::new(7);
                    let y: Vec<f64> = (0..90_u64)
                        .map(|i| {
                            let [p, q] = normal_pair(noise.block(case as u32, 0, 90 * r + i, 0));
                            (signal(&g[i as usize]) + sigma * p).hypot(sigma * q)
                        })
                        .collect();
                    let mean = y.iter().sum::<f64>() / 90.0;
                    let square = y.iter().map(|v| v * v).sum::<f64>() / 90.0;
                    plain += (mean - truth) / repetitions as f64;
                    corrected += (rician_mean(mean, square, sigma) - truth) / repetitions as f64;
                }
                // The bias that is left is small beside the noise of one mean.
                let noise = sigma / 90.0_f64.sqrt();
                assert!(plain > 0.5 * noise, "case {case} sigma {sigma}: bias {plain} is no test");
                assert!(
                    corrected.abs() < 0.25 * noise,
                    "case {case} sigma {sigma}: bias {plain} becomes {corrected}, noise {noise}"
                );
            }
        }
    }
}
