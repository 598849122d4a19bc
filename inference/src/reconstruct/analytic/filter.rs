//! The ramp and its windows: the filter of filtered backprojection.
//!
//! The ramp of a band limited at half a period a pixel is, in units of the pixel,
//!
//! $$h_0 = \tfrac14,\qquad h_n = -\frac1{(\pi n)^2}\ (n\text{ odd}),\qquad h_n = 0\ (n\text{ even}),$$
//!
//! sampled in space, so that its gain at frequency 0 is right for a padded line. On an arc
//! of angle $\alpha$ a pixel it is $h_n\,(n\alpha/\sin n\alpha)^2$. A line is padded with zeros to a power of two,
//! at least twice its length, and the spectrum is multiplied by a window of the frequency
//! $x$, 1 at half a period a pixel:
//!
//! | window | |
//! |---|---|
//! | `ram_lak` | 1 |
//! | `shepp_logan` | $\sin(\pi x/2)/(\pi x/2)$ |
//! | `cosine` | $\cos(\pi x/2)$ |
//! | `hamming` | $0.54 + 0.46\cos\pi x$ |
//! | `hann` | $0.5 + 0.5\cos\pi x$ |
//! | custom | a table, linear between its entries |
//!
//! Two lines are the real and the imaginary part of one transform: the filter is even, so
//! they stay apart.
//!
//! Source: Kak & Slaney 1988, doi:10.1137/1.9780898719277, eqs. 3.61 (ramp) and 3.106
//! (arc); windows: Natterer & Wübbeling 2001, doi:10.1137/1.9780898718324, section 5.1.
//! Validated by the tests below and by `equals_astra` in `inference/tests/suite/analytic.rs`.

use super::super::ReconstructError;
use super::Number;
use rayon::prelude::*;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};
use std::f64::consts::{FRAC_PI_2, PI};
use std::sync::Arc;

/// Longest line that is filtered.
const LONGEST: usize = 1 << 26;

/// The window of the ramp.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Filter {
    /// The ramp alone.
    #[default]
    RamLak,
    /// Times a sinc.
    SheppLogan,
    /// Times a cosine.
    Cosine,
    /// Times the window of Hamming.
    Hamming,
    /// Times the window of Hann.
    Hann,
    /// Times gains at equally spaced frequencies from 0 to half a period a pixel, linear
    /// between them.
    Custom(Vec<f64>),
}

impl Filter {
    /// The windows with a name.
    pub const NAMED: [Filter; 5] =
        [Filter::RamLak, Filter::SheppLogan, Filter::Cosine, Filter::Hamming, Filter::Hann];

    /// The name in files and on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Filter::RamLak => "ram_lak",
            Filter::SheppLogan => "shepp_logan",
            Filter::Cosine => "cosine",
            Filter::Hamming => "hamming",
            Filter::Hann => "hann",
            Filter::Custom(_) => "custom",
        }
    }

    /// The window of a name; `-` counts as `_`.
    ///
    /// # Errors
    /// An unknown name.
    pub fn parse(name: &str) -> Result<Self, ReconstructError> {
        let plain = name.replace('-', "_");
        Self::NAMED.into_iter().find(|f| f.name() == plain).ok_or_else(|| {
            let names = Self::NAMED.map(|f| f.name()).join(", ");
            ReconstructError::setting("filter", format!("unknown window `{name}`; use {names}"))
        })
    }

    /// The gain at a frequency from 0 to 1.
    pub fn gain(&self, x: f64) -> f64 {
        match self {
            Filter::RamLak => 1.0,
            Filter::SheppLogan if x == 0.0 => 1.0,
            Filter::SheppLogan => (FRAC_PI_2 * x).sin() / (FRAC_PI_2 * x),
            Filter::Cosine => (FRAC_PI_2 * x).cos(),
            Filter::Hamming => 0.54 + 0.46 * (PI * x).cos(),
            Filter::Hann => 0.5 + 0.5 * (PI * x).cos(),
            Filter::Custom(table) => {
                let last = table.len().saturating_sub(1);
                let at = x.clamp(0.0, 1.0) * last as f64;
                let below = (at as usize).min(last);
                let (a, b) = (table[below], table[(below + 1).min(last)]);
                a + (at - below as f64) * (b - a)
            }
        }
    }
}

/// The ramp of lines of one length.
pub(super) struct Ramp<T: Number> {
    /// Values of a line.
    length: usize,
    forward: Arc<dyn Fft<T>>,
    back: Arc<dyn Fft<T>>,
    /// Real and even, with the factor of the transforms.
    spectrum: Vec<T>,
}

impl<T: Number> Ramp<T> {
    /// Prepares the filter of lines of some pixels, `arc` radians each where the detector
    /// is curved about the source.
    pub(super) fn new(
        filter: &Filter,
        length: usize,
        arc: Option<f64>,
    ) -> Result<Self, ReconstructError> {
        if let Filter::Custom(table) = filter
            && (table.is_empty() || table.iter().any(|g| !g.is_finite()))
        {
            let problem = "a custom window needs at least one gain, all of them finite";
            return Err(ReconstructError::setting("filter", problem));
        }
        if length > LONGEST {
            let problem = format!("lines of {length} pixels are too long; at most {LONGEST}");
            return Err(ReconstructError::setting("detector", problem));
        }
        let n = (2 * length).next_power_of_two().max(2);
        let mut planner = FftPlanner::<f64>::new();
        let mut taps = vec![Complex::new(0.0, 0.0); n];
        for (i, tap) in taps.iter_mut().enumerate() {
            let k = i.min(n - i) as f64;
            // Beyond the line an arc has no tap, and no output needs one.
            let bend = match arc {
                Some(a) if k * a < PI && k > 0.0 && k < length as f64 => {
                    (k * a / (k * a).sin()).powi(2)
                }
                Some(_) if k > 0.0 => 0.0,
                _ => 1.0,
            };
            tap.re = match i.min(n - i) {
                0 => 0.25,
                k if k % 2 == 1 => -bend / (PI * k as f64).powi(2),
                _ => 0.0,
            };
        }
        planner.plan_fft_forward(n).process(&mut taps);
        let spectrum = taps
            .iter()
            .enumerate()
            .map(|(i, tap)| {
                let x = i.min(n - i) as f64 / (n as f64 / 2.0);
                T::narrow(tap.re * filter.gain(x) / n as f64)
            })
            .collect();
        let mut planner = FftPlanner::<T>::new();
        let (forward, back) = (planner.plan_fft_forward(n), planner.plan_fft_inverse(n));
        Ok(Self { length, forward, back, spectrum })
    }

    /// Filters lines in place.
    pub(super) fn apply(&self, lines: &mut [T]) {
        let n = self.spectrum.len();
        let scratch =
            self.forward.get_inplace_scratch_len().max(self.back.get_inplace_scratch_len());
        let zero = Complex::new(T::default(), T::default());
        lines.par_chunks_mut(2 * self.length).for_each_init(
            || (vec![zero; n], vec![zero; scratch]),
            |(line, scratch), pair| {
                let (a, b) = pair.split_at_mut(self.length);
                line.fill(zero);
                for (z, v) in line.iter_mut().zip(a.iter()) {
                    z.re = *v;
                }
                for (z, v) in line.iter_mut().zip(b.iter()) {
                    z.im = *v;
                }
                self.forward.process_with_scratch(line, scratch);
                for (z, gain) in line.iter_mut().zip(&self.spectrum) {
                    *z = Complex::new(z.re * *gain, z.im * *gain);
                }
                self.back.process_with_scratch(line, scratch);
                for (z, v) in line.iter().zip(a.iter_mut()) {
                    *v = z.re;
                }
                for (z, v) in line.iter().zip(b.iter_mut()) {
                    *v = z.im;
                }
            },
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The transform is the sum over the taps of the head of the module.
    #[test]
    fn ramp_is_its_taps() {
        let length = 37;
        let value = |i: usize| ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0;
        let mut lines: Vec<f64> = (0..3 * length).map(value).collect();
        let given = lines.clone();
        for arc in [None, Some(0.02)] {
            lines.copy_from_slice(&given);
            Ramp::new(&Filter::RamLak, length, arc).unwrap().apply(&mut lines);
            for (l, line) in lines.chunks_exact(length).enumerate() {
                for (i, found) in line.iter().enumerate() {
                    let exact: f64 = (0..length)
                        .map(|j| {
                            let k = i.abs_diff(j);
                            let bend = arc.map_or(1.0, |a| {
                                let x = a * k as f64;
                                if k == 0 { 1.0 } else { (x / x.sin()).powi(2) }
                            });
                            let tap = match k {
                                0 => 0.25,
                                k if k % 2 == 1 => -bend / (PI * k as f64).powi(2),
                                _ => 0.0,
                            };
                            tap * given[l * length + j]
                        })
                        .sum();
                    assert!((found - exact).abs() < 1e-14, "{l} {i}: {found} {exact}");
                }
            }
        }
    }

    #[test]
    fn windows_have_their_values() {
        for (filter, middle, end) in [
            (Filter::RamLak, 1.0, 1.0),
            (Filter::SheppLogan, 2.0 * 2.0_f64.sqrt() / PI, 2.0 / PI),
            (Filter::Cosine, 0.5_f64.sqrt(), 0.0),
            (Filter::Hamming, 0.54, 0.08),
            (Filter::Hann, 0.5, 0.0),
            (Filter::Custom(vec![1.0, 0.75, 0.5]), 0.75, 0.5),
        ] {
            assert!((filter.gain(0.0) - 1.0).abs() < 1e-15);
            assert!((filter.gain(0.5) - middle).abs() < 1e-15, "{filter:?}");
            assert!((filter.gain(1.0) - end).abs() < 1e-15, "{filter:?}");
        }
        for filter in Filter::NAMED {
            assert_eq!(Filter::parse(filter.name()).unwrap(), filter);
        }
        assert_eq!(Filter::parse("ram-lak").unwrap(), Filter::RamLak);
        assert!(Filter::parse("ramp").unwrap_err().to_string().contains("shepp_logan"));
        assert!(Ramp::<f64>::new(&Filter::Custom(vec![]), 4, None).is_err());
        assert!(Ramp::<f64>::new(&Filter::Custom(vec![f64::NAN]), 4, None).is_err());
    }
}
