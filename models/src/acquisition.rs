//! The acquisition: which diffusion weighting each measurement had.
//!
//! For pulsed gradients of duration $\delta$ and separation $\Delta$,
//!
//! $$b = (\gamma G \delta)^2 \tau,\qquad \tau = \Delta - \delta/3,\qquad q = \gamma G\delta/2\pi$$
//!
//! | symbol | unit inside | |
//! |---|---|---|
//! | $b$ | ms/µm² | 1 = 1000 s/mm² |
//! | $\delta, \Delta$, TE | ms | |
//! | $q$ | 1/µm | |
//! | $G$ | T/m | |
//!
//! Source: Stejskal & Tanner 1965, doi:10.1063/1.1695690, eq. 8; $\gamma$ of the
//! free proton, CODATA 2018.
//!
//! When b is given it is the quantity of record, and $\gamma G\delta = \sqrt{b/\tau}$:
//! no value of $\gamma$ enters. Validated by the tests below.

use serde::{Deserialize, Serialize};

/// Gyromagnetic ratio of the proton, rad/(s T).
pub const GAMMA_RAD_PER_S_T: f64 = 2.675_221_874_4e8;
/// γ·(1 T/m) in rad/(ms µm).
const GAMMA_PER_MS_UM: f64 = GAMMA_RAD_PER_S_T * 1e-9;
/// Measurements up to this b (ms/µm²) serve as b = 0 images.
pub const B0_MAX_MS_PER_UM2: f64 = 0.05;
/// Larger b-values than this (ms/µm²) do not exist; the unit must be wrong.
const B_MAX_MS_PER_UM2: f64 = 200.0;

/// What is wrong with an acquisition.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquisitionError {
    /// A list has another length than the b-values.
    #[error(
        "{what}: {got} values for {expected} measurements; check that the files belong together"
    )]
    Count {
        /// Which list.
        what: &'static str,
        /// Number of measurements.
        expected: usize,
        /// Length of the list.
        got: usize,
    },
    /// There is no measurement at all.
    #[error("the acquisition has no measurements; check that the gradient table is not empty")]
    Empty,
    /// A direction is not of length one.
    #[error(
        "measurement {measurement} (counted from 0): the gradient direction has length {norm}, but b is {b_s_per_mm2} s/mm2; \
         directions of diffusion-weighted measurements must be unit vectors (to 1e-3)"
    )]
    Direction {
        /// Index of the measurement.
        measurement: usize,
        /// Length found.
        norm: f64,
        /// Its b-value in s/mm².
        b_s_per_mm2: f64,
    },
    /// A number is NaN, infinite or negative.
    #[error(
        "measurement {measurement} (counted from 0): {what} is {value}; it must be finite and not negative"
    )]
    Value {
        /// Which quantity.
        what: &'static str,
        /// Index of the measurement.
        measurement: usize,
        /// Value found.
        value: f64,
    },
    /// The largest b-value is implausible.
    #[error(
        "the largest b-value is {largest_s_per_mm2} s/mm2, which looks like a wrong unit: \
         FSL bval files are in s/mm2 (typically 700 to 50000), scheme files in SI (s/m2, T/m, s)"
    )]
    Unit {
        /// Largest b-value in s/mm².
        largest_s_per_mm2: f64,
    },
    /// Pulse times that do not fit together.
    #[error(
        "measurement {measurement} (counted from 0): delta {delta_ms} ms and Delta {big_delta_ms} ms; a diffusion-weighted measurement needs 0 < delta <= Delta"
    )]
    Timing {
        /// Index of the measurement.
        measurement: usize,
        /// Pulse duration.
        delta_ms: f64,
        /// Pulse separation.
        big_delta_ms: f64,
    },
}

/// Duration and separation of the gradient pulses of every measurement, ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PulseTiming {
    /// Pulse duration δ, ms `[measurement]`.
    pub delta_ms: Vec<f64>,
    /// Separation of the leading edges Δ, ms `[measurement]`.
    pub big_delta_ms: Vec<f64>,
}

/// Measurements with equal b, δ, Δ and TE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shell {
    /// b, ms/µm².
    pub b: f64,
    /// δ, ms; `None` when the scheme does not say.
    pub delta_ms: Option<f64>,
    /// Δ, ms; `None` when the scheme does not say.
    pub big_delta_ms: Option<f64>,
    /// Echo time, ms; `None` when the scheme does not say.
    pub te_ms: Option<f64>,
}

impl Shell {
    /// τ = Δ - δ/3, ms.
    pub fn tau_ms(&self) -> Option<f64> {
        Some(self.big_delta_ms? - self.delta_ms? / 3.0)
    }

    /// γGδ = sqrt(b/τ), rad/µm; zero at b = 0.
    pub fn gamma_g_delta(&self) -> Option<f64> {
        if self.b == 0.0 {
            return Some(0.0);
        }
        Some((self.b / self.tau_ms()?).sqrt())
    }

    /// q = γGδ/2π, 1/µm.
    pub fn q_per_um(&self) -> Option<f64> {
        Some(self.gamma_g_delta()? / std::f64::consts::TAU)
    }
}

/// The diffusion weighting of every measurement, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acquisition {
    b: Vec<f64>,
    directions: Vec<[f64; 3]>,
    timing: Option<PulseTiming>,
    te_ms: Option<Vec<f64>>,
    shells: Vec<Shell>,
    shell_of: Vec<usize>,
}

impl Acquisition {
    /// From b-values.
    ///
    /// # Shapes
    /// All lists are `[measurement]`.
    ///
    /// # Units
    /// b in ms/µm², times in ms; directions are unit vectors. Directions of
    /// measurements with b = 0 are not looked at (FSL writes NaN there); up to
    /// b = 0.05 a zero or NaN direction makes the measurement a b = 0.
    ///
    /// # Errors
    /// Counts that differ, directions that are not unit vectors to 1e-3, values
    /// that are not finite or negative, b-values of an implausible unit.
    ///
    /// # Example
    /// ```
    /// use microtome_models::Acquisition;
    /// let a = Acquisition::from_b(&[0.0, 1.0], &[[f64::NAN; 3], [1.0, 0.0, 0.0]], None, None)?;
    /// assert_eq!(a.shells().len(), 2);
    /// # Ok::<(), microtome_models::AcquisitionError>(())
    /// ```
    pub fn from_b(
        b_ms_per_um2: &[f64],
        directions: &[[f64; 3]],
        timing: Option<PulseTiming>,
        te_ms: Option<Vec<f64>>,
    ) -> Result<Self, AcquisitionError> {
        let n = b_ms_per_um2.len();
        if n == 0 {
            return Err(AcquisitionError::Empty);
        }
        let count = |what, got| {
            if got == n { Ok(()) } else { Err(AcquisitionError::Count { what, expected: n, got }) }
        };
        count("gradient directions", directions.len())?;
        if let Some(t) = &timing {
            count("delta", t.delta_ms.len())?;
            count("Delta", t.big_delta_ms.len())?;
            check_values("delta (ms)", &t.delta_ms)?;
            check_values("Delta (ms)", &t.big_delta_ms)?;
        }
        if let Some(te) = &te_ms {
            count("TE", te.len())?;
            check_values("TE (ms)", te)?;
        }
        check_values("b (ms/um2)", b_ms_per_um2)?;
        let largest = b_ms_per_um2.iter().copied().fold(0.0, f64::max);
        if largest > B_MAX_MS_PER_UM2 || (largest > 0.0 && largest < B0_MAX_MS_PER_UM2) {
            return Err(AcquisitionError::Unit { largest_s_per_mm2: largest * 1000.0 });
        }
        let mut b = b_ms_per_um2.to_vec();
        let mut unit = Vec::with_capacity(n);
        for (i, g) in directions.iter().enumerate() {
            let norm = (g[0] * g[0] + g[1] * g[1] + g[2] * g[2]).sqrt();
            if b[i] == 0.0 || (b[i] <= B0_MAX_MS_PER_UM2 && (norm.is_nan() || norm <= 0.0)) {
                b[i] = 0.0;
                unit.push([0.0; 3]);
            } else if (norm - 1.0).abs() < 1e-3 {
                unit.push([g[0] / norm, g[1] / norm, g[2] / norm]);
            } else {
                return Err(AcquisitionError::Direction {
                    measurement: i,
                    norm,
                    b_s_per_mm2: b[i] * 1000.0,
                });
            }
            if let Some(t) = &timing {
                let (delta_ms, big_delta_ms) = (t.delta_ms[i], t.big_delta_ms[i]);
                if b[i] > 0.0 && !(delta_ms > 0.0 && delta_ms <= big_delta_ms) {
                    return Err(AcquisitionError::Timing {
                        measurement: i,
                        delta_ms,
                        big_delta_ms,
                    });
                }
            }
        }
        let (shells, shell_of) = group(&b, timing.as_ref(), te_ms.as_deref());
        Ok(Self { b, directions: unit, timing, te_ms, shells, shell_of })
    }

    /// From q-values, 1/µm: b = (2πq)² τ.
    ///
    /// # Errors
    /// As [`Acquisition::from_b`].
    pub fn from_q(
        q_per_um: &[f64],
        directions: &[[f64; 3]],
        timing: PulseTiming,
        te_ms: Option<Vec<f64>>,
    ) -> Result<Self, AcquisitionError> {
        let b = weighted(q_per_um, &timing, |q, _| std::f64::consts::TAU * q)?;
        Self::from_b(&b, directions, Some(timing), te_ms)
    }

    /// From gradient strengths, T/m: b = (γGδ)² τ with [`GAMMA_RAD_PER_S_T`].
    ///
    /// # Errors
    /// As [`Acquisition::from_b`].
    pub fn from_gradient_strength(
        gradient_t_per_m: &[f64],
        directions: &[[f64; 3]],
        timing: PulseTiming,
        te_ms: Option<Vec<f64>>,
    ) -> Result<Self, AcquisitionError> {
        let b = weighted(gradient_t_per_m, &timing, |g, delta| GAMMA_PER_MS_UM * g * delta)?;
        Self::from_b(&b, directions, Some(timing), te_ms)
    }

    /// The acquisition of some of the measurements, in the given order;
    /// indices that do not exist are left out. Without indices it is empty.
    pub fn subset(&self, indices: &[usize]) -> Self {
        let kept: Vec<usize> = indices.iter().copied().filter(|&i| i < self.len()).collect();
        let pick = |v: &[f64]| kept.iter().map(|&i| v[i]).collect::<Vec<f64>>();
        let b = pick(&self.b);
        let timing = self.timing.as_ref().map(|t| PulseTiming {
            delta_ms: pick(&t.delta_ms),
            big_delta_ms: pick(&t.big_delta_ms),
        });
        let te_ms = self.te_ms.as_deref().map(pick);
        let (shells, shell_of) = group(&b, timing.as_ref(), te_ms.as_deref());
        Self {
            directions: kept.iter().map(|&i| self.directions[i]).collect(),
            b,
            timing,
            te_ms,
            shells,
            shell_of,
        }
    }

    /// The same acquisition in other axes: every direction g becomes R g, R orthogonal.
    pub fn turned(&self, r: &[[f64; 3]; 3]) -> Self {
        let turn = |g: &[f64; 3]| r.map(|row| row[0] * g[0] + row[1] * g[1] + row[2] * g[2]);
        Self { directions: self.directions.iter().map(turn).collect(), ..self.clone() }
    }

    /// Number of measurements.
    pub fn len(&self) -> usize {
        self.b.len()
    }

    /// Whether there are no measurements: only after [`Acquisition::subset`] of none.
    pub fn is_empty(&self) -> bool {
        self.b.is_empty()
    }

    /// b of every measurement, ms/µm².
    pub fn b_ms_per_um2(&self) -> &[f64] {
        &self.b
    }

    /// Unit gradient directions; zero vectors where b = 0.
    pub fn directions(&self) -> &[[f64; 3]] {
        &self.directions
    }

    /// Pulse durations and separations, when known.
    pub fn timing(&self) -> Option<&PulseTiming> {
        self.timing.as_ref()
    }

    /// Echo times, ms, when known.
    pub fn te_ms(&self) -> Option<&[f64]> {
        self.te_ms.as_deref()
    }

    /// The shells in order of (Δ, δ, b, TE).
    pub fn shells(&self) -> &[Shell] {
        &self.shells
    }

    /// The shell of every measurement.
    pub fn shell_of(&self) -> &[usize] {
        &self.shell_of
    }

    /// Indices of the measurements that serve as b = 0 images (b ≤ 0.05 ms/µm²).
    pub fn b0_measurements(&self) -> impl Iterator<Item = usize> + '_ {
        self.b.iter().enumerate().filter(|(_, b)| **b <= B0_MAX_MS_PER_UM2).map(|(i, _)| i)
    }
}

fn check_values(what: &'static str, values: &[f64]) -> Result<(), AcquisitionError> {
    match values.iter().position(|v| !(v.is_finite() && *v >= 0.0)) {
        Some(measurement) => {
            Err(AcquisitionError::Value { what, measurement, value: values[measurement] })
        }
        None => Ok(()),
    }
}

/// b from a strength: `phase(strength, delta)` is γGδ in rad/µm.
fn weighted(
    strength: &[f64],
    timing: &PulseTiming,
    phase: impl Fn(f64, f64) -> f64,
) -> Result<Vec<f64>, AcquisitionError> {
    let n = strength.len();
    for (what, got) in [("delta", timing.delta_ms.len()), ("Delta", timing.big_delta_ms.len())] {
        if got != n {
            return Err(AcquisitionError::Count { what, expected: n, got });
        }
    }
    check_values("gradient strength or q", strength)?;
    Ok(strength
        .iter()
        .zip(timing.delta_ms.iter().zip(&timing.big_delta_ms))
        .map(|(&s, (&delta, &big_delta))| phase(s, delta).powi(2) * (big_delta - delta / 3.0))
        .collect())
}

fn group(b: &[f64], timing: Option<&PulseTiming>, te: Option<&[f64]>) -> (Vec<Shell>, Vec<usize>) {
    let key = |i: usize| {
        let (delta, big_delta) = timing.map_or((0.0, 0.0), |t| (t.delta_ms[i], t.big_delta_ms[i]));
        [big_delta, delta, b[i], te.map_or(0.0, |t| t[i])]
    };
    let mut order: Vec<usize> = (0..b.len()).collect();
    let compare = |x: &[f64; 4], y: &[f64; 4]| {
        x.iter()
            .zip(y)
            .map(|(p, q)| p.total_cmp(q))
            .find(|o| o.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    };
    order.sort_by(|&i, &j| compare(&key(i), &key(j)));
    let mut shells: Vec<Shell> = Vec::new();
    let mut shell_of = vec![0; b.len()];
    let mut last: Option<[f64; 4]> = None;
    for i in order {
        let k = key(i);
        if last.is_none_or(|l| compare(&l, &k).is_ne()) {
            shells.push(Shell {
                b: b[i],
                delta_ms: timing.map(|t| t.delta_ms[i]),
                big_delta_ms: timing.map(|t| t.big_delta_ms[i]),
                te_ms: te.map(|t| t[i]),
            });
            last = Some(k);
        }
        shell_of[i] = shells.len() - 1;
    }
    (shells, shell_of)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn timing() -> PulseTiming {
        PulseTiming { delta_ms: vec![10.6; 2], big_delta_ms: vec![43.1; 2] }
    }

    #[test]
    fn hcp_gradient_strength_gives_b_of_one() {
        // The first weighted row of the Wu-Minn scheme (b = 1000 s/mm2 with gamma 267.513e6).
        let g = 0.0560640560;
        let x = [[1.0, 0.0, 0.0]; 2];
        let a = Acquisition::from_gradient_strength(&[0.0, g], &x, timing(), None).unwrap();
        let ratio = (GAMMA_RAD_PER_S_T / 267.513e6_f64).powi(2);
        assert!((a.b_ms_per_um2()[1] / ratio - 1.0).abs() < 1e-6, "{:?}", a.b_ms_per_um2());
        let q = a.shells()[1].q_per_um().unwrap();
        let again = Acquisition::from_q(&[0.0, q], &x, timing(), None).unwrap();
        assert!((again.b_ms_per_um2()[1] - a.b_ms_per_um2()[1]).abs() < 1e-14);
    }

    #[test]
    fn faults_are_named() {
        let x = [1.0, 0.0, 0.0];
        let text = |r: Result<Acquisition, AcquisitionError>| r.unwrap_err().to_string();
        assert!(
            text(Acquisition::from_b(&[1.0], &[[2.0, 0.0, 0.0]], None, None)).contains("length 2")
        );
        assert!(text(Acquisition::from_b(&[1000.0], &[x], None, None)).contains("wrong unit"));
        assert!(text(Acquisition::from_b(&[1.0], &[x, x], None, None)).contains("2 values for 1"));
        assert!(text(Acquisition::from_b(&[f64::NAN], &[x], None, None)).contains("NaN"));
        let wrong = PulseTiming { delta_ms: vec![5.0], big_delta_ms: vec![1.0] };
        assert!(
            text(Acquisition::from_b(&[1.0], &[x], Some(wrong), None)).contains("delta <= Delta")
        );
        assert!(Acquisition::from_b(&[], &[], None, None).is_err());
    }

    #[test]
    fn shells_are_groups_of_equal_weighting() {
        let x = [0.0, 1.0, 0.0];
        let a = Acquisition::from_b(&[2.0, 0.0, 1.0, 2.0], &[x; 4], None, None).unwrap();
        assert_eq!(a.shells().iter().map(|s| s.b).collect::<Vec<_>>(), [0.0, 1.0, 2.0]);
        assert_eq!(a.shell_of(), [2, 0, 1, 2]);
    }
}
