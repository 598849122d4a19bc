//! Multi-tissue spherical deconvolution: the signal as a fibre orientation
//! distribution convolved with the response of one fibre, and isotropic tissues.
//!
//! $$S(b,g) = \sum_{lm} R_l(b)\,f_{lm}\,Y_{lm}(g) + \sum_k v_k\,S_k(b),\qquad f(n)\ge0,\quad v_k\ge0$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $f_{lm}$ | 1 | coefficients of the fibre orientation distribution; $\sqrt{4\pi}f_{00}$ is its volume |
//! | $R_l(b)$ | signal | rotational harmonics of the response of one fibre, $r_l/Y_{l0}(\mathrm{pole})$ |
//! | $v_k, S_k(b)$ | 1, signal | volume and signal of the isotropic tissue k |
//! | $b$ | ms/µm² | |
//!
//! Source: Tournier et al. 2007, doi:10.1016/j.neuroimage.2007.02.016 (one shell);
//! Jeurissen et al. 2014, doi:10.1016/j.neuroimage.2014.07.061, eq. 1 to 4 (tissues and
//! shells). Validated by `faults_of_responses_are_named` below and `tests/deconvolution.rs`
//! of the inference.

use crate::acquisition::{Acquisition, B0_MAX_MS_PER_UM2};
use crate::spherical_harmonics::{LMAX_MAX, harmonic_count};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// b-values closer than this (ms/µm²) are one shell of a response.
pub const SHELL_WIDTH_MS_PER_UM2: f64 = 0.1;
/// The order that a deconvolution takes when it is not told one.
const LMAX_DEFAULT: usize = 8;

/// The side lobes that a deconvolution takes when it is not told any: then its
/// distributions are about as negative as those of MRtrix3 (3 to 4 % of the peak).
pub const SIDE_LOBES: f64 = 0.02;

fn side_lobes() -> f64 {
    SIDE_LOBES
}

/// Why responses and an acquisition do not go together.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DeconvolutionError {
    /// An order that is odd or too high.
    #[error(
        "lmax {lmax}: the harmonics of a symmetric function have the even orders 0, 2, ...; write an even number from 2 to {LMAX_MAX}"
    )]
    Order {
        /// As given.
        lmax: usize,
    },
    /// Side lobes of no use.
    #[error(
        "side lobes of {side_lobes} of the peak: a number from 0 (non-negative everywhere) to 0.1 is needed"
    )]
    SideLobes {
        /// As given.
        side_lobes: f64,
    },
    /// More unknowns than measurements.
    #[error(
        "lmax {lmax} has {unknowns} unknown coefficients, but only {measurements} measurements are used ({shells}); \
         take lmax {best} or less"
    )]
    Unknowns {
        /// As given.
        lmax: usize,
        /// Unknowns.
        unknowns: usize,
        /// Measurements of the shells of the responses.
        measurements: usize,
        /// The shells, in words.
        shells: String,
        /// The highest order that would do.
        best: usize,
    },
    /// A shell of the response is not in the scheme.
    #[error(
        "the response has b = {response} s/mm2, but the acquisition has no such shell (it has {found}); estimate the response from this acquisition: microtome response"
    )]
    ResponseShell {
        /// b of the response, s/mm².
        response: f64,
        /// Shells of the acquisition, in words.
        found: String,
    },
    /// A shell of the scheme is not in the response.
    #[error(
        "the acquisition has b = {scheme} s/mm2, but the response has no such shell (it has {found}); estimate the response from this acquisition: microtome response"
    )]
    SchemeShell {
        /// b of the acquisition, s/mm².
        scheme: f64,
        /// Shells of the response, in words.
        found: String,
    },
    /// An encoding that no response describes.
    #[error(
        "a deconvolution needs linear encoding (b_delta = 1), but measurement {measurement} (counted from 0) has another; leave such measurements out"
    )]
    Encoding {
        /// The first such measurement.
        measurement: usize,
    },
    /// Not usable as a response.
    #[error("response of {tissue}: {problem}")]
    Tissue {
        /// Its name.
        tissue: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// The response of one tissue: zonal coefficients of its signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TissueResponse {
    /// Its name: the prefix of its columns.
    pub name: String,
    /// $r_l$ at l = 0, 2, ... of every shell `[shell][l / 2]`; an isotropic tissue has l = 0 only.
    pub zonal: Vec<Vec<f64>>,
}

impl TissueResponse {
    /// The highest order of any shell.
    pub fn lmax(&self) -> usize {
        2 * self.zonal.iter().map(Vec::len).max().unwrap_or(0).saturating_sub(1)
    }
}

/// Responses of tissues: the first is that of fibres, the others are isotropic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Responses {
    /// b of every shell, rising, ms/µm².
    pub b_ms_per_um2: Vec<f64>,
    /// The tissues.
    pub tissue: Vec<TissueResponse>,
}

/// A deconvolution, as a part of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeconvolutionSpec {
    /// The order of the distribution; chosen by the number of measurements when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lmax: Option<usize>,
    /// Depth of the negative side lobes of a single peak, in units of its height:
    /// 0 keeps the distribution non-negative everywhere, more resolves smaller angles.
    #[serde(default = "side_lobes")]
    pub side_lobes: f64,
    /// What the tissues look like.
    pub responses: Responses,
}

/// Shells of b-values that lie close together.
#[derive(Debug, Clone, PartialEq)]
pub struct BShells {
    /// Mean b of every shell, rising, ms/µm²; 0 where all are b = 0 images.
    pub b: Vec<f64>,
    /// The shell of every measurement.
    pub of: Vec<usize>,
}

/// Checks that every gradient has a direction that a response turns to.
///
/// # Errors
/// The first measurement of another encoding than the linear one.
pub fn check_encoding(acquisition: &Acquisition) -> Result<(), DeconvolutionError> {
    let other = |i: &usize| acquisition.b_delta(*i) != Some(1.0);
    match (0..acquisition.len()).find(other) {
        Some(measurement) => Err(DeconvolutionError::Encoding { measurement }),
        None => Ok(()),
    }
}

impl BShells {
    /// Groups measurements: those with b up to 0.05 are b = 0, and a gap of more
    /// than [`SHELL_WIDTH_MS_PER_UM2`] begins a new shell.
    pub fn new(acquisition: &Acquisition) -> Self {
        let b = acquisition.b_ms_per_um2();
        let mut order: Vec<usize> = (0..b.len()).collect();
        order.sort_by(|&i, &j| b[i].total_cmp(&b[j]));
        let mut of = vec![0; b.len()];
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut last = f64::NEG_INFINITY;
        for i in order {
            let is_b0 = b[i] <= B0_MAX_MS_PER_UM2;
            let new = if last <= B0_MAX_MS_PER_UM2 {
                !is_b0 || groups.is_empty()
            } else {
                b[i] - last > SHELL_WIDTH_MS_PER_UM2
            };
            if new {
                groups.push(Vec::new());
            }
            of[i] = groups.len() - 1;
            if let Some(group) = groups.last_mut() {
                group.push(i);
            }
            last = b[i];
        }
        let mean = |group: &Vec<usize>| {
            let mean = group.iter().map(|i| b[*i]).sum::<f64>() / group.len() as f64;
            if mean <= B0_MAX_MS_PER_UM2 { 0.0 } else { mean }
        };
        Self { b: groups.iter().map(mean).collect(), of }
    }

    /// `0, 1000, 3000 s/mm2`.
    fn words(b: &[f64]) -> String {
        let list: Vec<String> = b.iter().map(|b| s_per_mm2(*b).to_string()).collect();
        format!("{} s/mm2", list.join(", "))
    }
}

/// b in s/mm², rounded to whole numbers for messages.
fn s_per_mm2(b: f64) -> f64 {
    (b * 1000.0).round()
}

/// The measurements that a deconvolution uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Used {
    /// Their indices, rising.
    pub measurements: Vec<usize>,
    /// The shell of the responses of each of them.
    pub shell: Vec<usize>,
}

impl Responses {
    /// Checks shapes and numbers.
    ///
    /// # Errors
    /// What is wrong, by tissue.
    pub fn check(&self) -> Result<(), DeconvolutionError> {
        let wrong = |tissue: &str, problem: String| {
            Err(DeconvolutionError::Tissue { tissue: tissue.into(), problem })
        };
        let Some(first) = self.tissue.first() else {
            return wrong("fibres", "there is no [[tissue]]".into());
        };
        let shells = self.b_ms_per_um2.len();
        let rising =
            self.b_ms_per_um2.windows(2).all(|w| w[1] - w[0] > 0.5 * SHELL_WIDTH_MS_PER_UM2);
        if shells == 0 || !rising || self.b_ms_per_um2.iter().any(|b| !(b.is_finite() && *b >= 0.0))
        {
            return wrong(
                &first.name,
                "the b-values must be rising and not negative, one a shell".into(),
            );
        }
        for (k, tissue) in self.tissue.iter().enumerate() {
            let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if tissue.name.is_empty() || !tissue.name.chars().all(valid) {
                return wrong(
                    &tissue.name,
                    "the name must be made of letters, digits and _".into(),
                );
            }
            if self.tissue[..k].iter().any(|t| t.name == tissue.name) {
                return wrong(&tissue.name, "two tissues have this name".into());
            }
            if tissue.zonal.len() != shells {
                let n = tissue.zonal.len();
                return wrong(
                    &tissue.name,
                    format!(
                        "{n} rows of coefficients for {shells} b-values; write one row a shell"
                    ),
                );
            }
            let most = LMAX_MAX / 2 + 1;
            for (row, b) in tissue.zonal.iter().zip(&self.b_ms_per_um2) {
                let b = s_per_mm2(*b);
                if row.is_empty() || row.len() > most || row.iter().any(|r| !r.is_finite()) {
                    return wrong(
                        &tissue.name,
                        format!(
                            "the row of b = {b} s/mm2 must have 1 to {most} finite coefficients"
                        ),
                    );
                }
                if row[0] <= 0.0 {
                    return wrong(
                        &tissue.name,
                        format!(
                            "the first coefficient of b = {b} s/mm2 is {}, but the mean signal must be positive",
                            row[0]
                        ),
                    );
                }
            }
            if k == 0 && tissue.lmax() < 2 {
                return wrong(
                    &tissue.name,
                    "is isotropic, but the first tissue must be that of fibres (l = 0, 2, ...)"
                        .into(),
                );
            }
            if k > 0 && tissue.lmax() > 0 {
                return wrong(
                    &tissue.name,
                    "only the first tissue may have orders above l = 0".into(),
                );
            }
        }
        Ok(())
    }

    /// The measurements that the responses describe. A response of one shell takes
    /// that shell alone; otherwise every shell of the acquisition but b = 0 must
    /// have a row, and every row a shell.
    ///
    /// # Errors
    /// The b-value without a partner.
    pub fn used(&self, acquisition: &Acquisition) -> Result<Used, DeconvolutionError> {
        let shells = BShells::new(acquisition);
        let near = |a: f64, b: f64| (a - b).abs() <= SHELL_WIDTH_MS_PER_UM2.max(0.02 * a);
        let nearest = |b: f64| {
            let distance = |i: &usize| (self.b_ms_per_um2[*i] - b).abs();
            let best =
                (0..self.b_ms_per_um2.len()).min_by(|i, j| distance(i).total_cmp(&distance(j)));
            // b = 0 images are not a weighted shell, however low that is.
            best.filter(|i| {
                near(self.b_ms_per_um2[*i], b)
                    && (self.b_ms_per_um2[*i] <= B0_MAX_MS_PER_UM2) == (b == 0.0)
            })
        };
        let partner: Vec<Option<usize>> = shells.b.iter().map(|b| nearest(*b)).collect();
        for (i, b) in self.b_ms_per_um2.iter().enumerate() {
            if !partner.contains(&Some(i)) {
                let found = BShells::words(&shells.b);
                return Err(DeconvolutionError::ResponseShell { response: s_per_mm2(*b), found });
            }
        }
        if self.b_ms_per_um2.len() > 1 {
            for (b, partner) in shells.b.iter().zip(&partner) {
                if partner.is_none() && *b > 0.0 {
                    let found = BShells::words(&self.b_ms_per_um2);
                    return Err(DeconvolutionError::SchemeShell { scheme: s_per_mm2(*b), found });
                }
            }
        }
        let (measurements, shell) =
            (0..acquisition.len()).filter_map(|i| Some((i, partner[shells.of[i]]?))).unzip();
        Ok(Used { measurements, shell })
    }

    /// Signal of an isotropic tissue k at a shell: $r_0 Y_{00}$.
    pub fn isotropic_signal(&self, k: usize, shell: usize) -> f64 {
        self.tissue[k].zonal[shell][0] / (4.0 * PI).sqrt()
    }
}

impl DeconvolutionSpec {
    /// Checks against an acquisition and settles the order of the distribution.
    ///
    /// # Errors
    /// Responses that are malformed or of other shells; an order that is odd, or
    /// too high for the number of measurements.
    pub fn resolve(&mut self, acquisition: &Acquisition) -> Result<(), DeconvolutionError> {
        self.responses.check()?;
        check_encoding(acquisition)?;
        if !(0.0..=0.1).contains(&self.side_lobes) {
            return Err(DeconvolutionError::SideLobes { side_lobes: self.side_lobes });
        }
        let used = self.responses.used(acquisition)?;
        let weighted = used.shell.iter().filter(|s| self.responses.tissue[0].zonal[**s].len() > 1);
        let measurements = weighted.count();
        let isotropic = self.responses.tissue.len() - 1;
        let highest = self.responses.tissue[0].lmax();
        let fits = |lmax: &usize| {
            harmonic_count(*lmax) <= measurements
                && harmonic_count(*lmax) + isotropic <= used.measurements.len()
        };
        let best = (0..=highest).step_by(2).filter(fits).last().unwrap_or(0);
        let lmax = self.lmax.unwrap_or(best.clamp(2, LMAX_DEFAULT));
        if !lmax.is_multiple_of(2) || !(2..=LMAX_MAX).contains(&lmax) {
            return Err(DeconvolutionError::Order { lmax });
        }
        if lmax > highest {
            return Err(DeconvolutionError::Tissue {
                tissue: self.responses.tissue[0].name.clone(),
                problem: format!(
                    "has orders up to {highest}, but lmax is {lmax}; estimate the response with --lmax {lmax}, or deconvolve with --lmax {highest}"
                ),
            });
        }
        if !fits(&lmax) {
            let unknowns = harmonic_count(lmax) + isotropic;
            let shells = BShells::words(&self.responses.b_ms_per_um2);
            return Err(DeconvolutionError::Unknowns {
                lmax,
                unknowns,
                measurements,
                shells,
                best,
            });
        }
        self.lmax = Some(lmax);
        Ok(())
    }

    /// The columns of a fit in front of those of the distribution: volumes of tissues.
    pub fn tissues(&self) -> impl Iterator<Item = &str> {
        self.responses.tissue.iter().map(|t| t.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::half_sphere::half_sphere;

    fn acquisition(shells: &[(f64, usize)]) -> Acquisition {
        let (mut b, mut g) = (Vec::new(), Vec::new());
        for (value, n) in shells {
            b.extend(vec![*value; *n]);
            g.extend(half_sphere(*n));
        }
        Acquisition::from_b(&b, &g, None, None).unwrap()
    }

    fn spec(b: &[f64], lmax: Option<usize>) -> DeconvolutionSpec {
        let rows = |b: &f64| if *b == 0.0 { vec![1.0] } else { vec![1.0, -0.5, 0.1, -0.02, 0.003] };
        let wm = TissueResponse { name: "wm".into(), zonal: b.iter().map(rows).collect() };
        DeconvolutionSpec {
            lmax,
            side_lobes: SIDE_LOBES,
            responses: Responses { b_ms_per_um2: b.to_vec(), tissue: vec![wm] },
        }
    }

    #[test]
    fn shells_are_near_b_values() {
        let a = acquisition(&[(3.0, 2), (0.0, 1), (0.995, 1), (1.005, 1), (0.01, 1), (2.98, 1)]);
        let shells = BShells::new(&a);
        assert_eq!(shells.of, [2, 2, 0, 1, 1, 0, 2]);
        assert!(shells.b[0] == 0.0 && (shells.b[1] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn faults_of_responses_are_named() {
        let two = acquisition(&[(0.0, 2), (1.0, 30), (3.0, 60)]);
        let fault =
            |s: &mut DeconvolutionSpec, a: &Acquisition| s.resolve(a).unwrap_err().to_string();
        assert!(fault(&mut spec(&[0.0, 1.0, 2.0], None), &two).contains("b = 2000 s/mm2"));
        assert!(fault(&mut spec(&[0.0, 1.0], None), &two).contains("acquisition has b = 3000"));
        assert!(fault(&mut spec(&[0.0, 1.0, 3.0], Some(7)), &two).contains("lmax 7"));
        assert!(fault(&mut spec(&[0.0, 1.0, 3.0], Some(10)), &two).contains("orders up to 8"));
        let few = acquisition(&[(0.0, 2), (1.0, 30)]);
        let text = fault(&mut spec(&[1.0], Some(8)), &few);
        assert!(
            text.contains("45 unknown")
                && text.contains("30 measurements")
                && text.contains("lmax 6"),
            "{text}"
        );
        let mut bad = spec(&[1.0], None);
        bad.responses.tissue[0].zonal[0] = vec![1.0];
        assert!(fault(&mut bad, &few).contains("isotropic"));
        bad.responses.tissue[0].zonal[0] = vec![-1.0, 0.1];
        assert!(fault(&mut bad, &few).contains("positive"));
    }

    #[test]
    fn order_follows_the_measurements_and_one_shell_is_enough() {
        let two = acquisition(&[(0.0, 2), (1.0, 30), (3.0, 60)]);
        let mut one = spec(&[3.0], None);
        one.resolve(&two).unwrap();
        assert_eq!(one.lmax, Some(8));
        let used = one.responses.used(&two).unwrap();
        assert_eq!(used.measurements, (32..92).collect::<Vec<_>>());
        let mut few = spec(&[1.0], None);
        few.resolve(&acquisition(&[(0.0, 1), (1.0, 30)])).unwrap();
        assert_eq!(few.lmax, Some(6));
    }
}
