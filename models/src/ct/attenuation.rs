//! Line integrals of a polychromatic beam, and units of attenuation.
//!
//! A wide spectrum is attenuated less than its line integral by a factor that grows along
//! the ray (beam hardening). A polynomial takes the measured value $p$ to that of one energy:
//!
//! $$h(p) = \sum_{k\ge1} c_k\,p^k,\qquad \operatorname{var} h = h'(p)^2\operatorname{var} p$$
//!
//! $$\mathrm{HU} = 1000\,\frac{\mu - \mu_\mathrm{water}}{\mu_\mathrm{water}}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $p$ | 1 | line integral |
//! | $c_k$ | 1 | coefficients |
//! | $\mu$ | 1/mm | attenuation |
//!
//! Source: Herman 1979, doi:10.1088/0031-9155/24/1/008; the unit: Hounsfield 1973,
//! doi:10.1259/0007-1285-46-552-1016. Validated by the tests below and by
//! `hardening_is_undone` in `inference/tests/suite/prepare.rs`.

use super::CtError;

/// A polynomial without constant term that rises over a range.
#[derive(Debug, Clone, PartialEq)]
pub struct BeamHardening {
    coefficients: Vec<f64>,
}

impl BeamHardening {
    /// The polynomial $c_1p + c_2p^2 + \ldots$
    ///
    /// # Errors
    /// No coefficient, one that is not finite, a first one that is not positive.
    pub fn new(coefficients: &[f64]) -> Result<Self, CtError> {
        let fine = coefficients.first().is_some_and(|c| *c > 0.0)
            && coefficients.iter().all(|c| c.is_finite());
        if !fine {
            let what = format!(
                "{coefficients:?}; write c1,c2,... of c1 p + c2 p^2 + ..., finite, c1 above 0"
            );
            return Err(CtError::key("beam hardening", what));
        }
        Ok(Self { coefficients: coefficients.to_vec() })
    }

    /// The polynomial of a degree nearest in least squares to pairs of measured and true
    /// line integrals, such as those of a wedge.
    ///
    /// # Errors
    /// Fewer pairs than coefficients, numbers that are not finite, pairs that leave a
    /// coefficient open.
    ///
    /// # Example
    /// ```
    /// use microtome_models::ct::BeamHardening;
    /// let pairs: Vec<[f64; 2]> = (1..9).map(|k| 0.3 * k as f64).map(|p| [p, p + 0.1 * p * p]).collect();
    /// let found = BeamHardening::fit(&pairs, 2)?;
    /// assert!((found.coefficients()[1] - 0.1).abs() < 1e-12);
    /// # Ok::<(), microtome_models::ct::CtError>(())
    /// ```
    pub fn fit(pairs: &[[f64; 2]], degree: usize) -> Result<Self, CtError> {
        let wrong = |what: String| CtError::key("beam hardening", what);
        if degree == 0 || pairs.len() < degree || pairs.iter().flatten().any(|v| !v.is_finite()) {
            return Err(wrong(format!(
                "{} pairs for {degree} coefficients; at least one finite pair for each is needed",
                pairs.len()
            )));
        }
        // Columns of powers, made orthonormal one after the other (twice).
        let scale = pairs.iter().map(|p| p[0].abs()).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let power = |k: usize| -> Vec<f64> {
            pairs.iter().map(|p| (p[0] / scale).powi(k as i32)).collect()
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (mut q, mut r) = (Vec::<Vec<f64>>::new(), vec![vec![0.0; degree]; degree]);
        #[allow(clippy::needless_range_loop, reason = "the column of a triangle")]
        for k in 0..degree {
            let mut column = power(k + 1);
            let size = dot(&column, &column).sqrt();
            for _ in 0..2 {
                for (j, before) in q.iter().enumerate() {
                    let along = dot(before, &column);
                    r[j][k] += along;
                    column.iter_mut().zip(before).for_each(|(c, b)| *c -= along * b);
                }
            }
            let norm = dot(&column, &column).sqrt();
            if norm.is_nan() || norm <= 1e-10 * size {
                return Err(wrong(format!(
                    "the pairs do not determine coefficient {}: give more values or a lower degree",
                    k + 1
                )));
            }
            r[k][k] = norm;
            column.iter_mut().for_each(|c| *c /= norm);
            q.push(column);
        }
        let truth: Vec<f64> = pairs.iter().map(|p| p[1]).collect();
        let mut c: Vec<f64> = q.iter().map(|q| dot(q, &truth)).collect();
        for k in (0..degree).rev() {
            for j in k + 1..degree {
                c[k] -= r[k][j] * c[j];
            }
            c[k] /= r[k][k];
        }
        c.iter_mut().enumerate().for_each(|(k, c)| *c /= scale.powi(k as i32 + 1));
        Self::new(&c)
    }

    /// $c_1, c_2, \ldots$
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// $h(p)$ and $h'(p)$.
    pub fn value(&self, p: f64) -> (f64, f64) {
        let (mut h, mut slope) = (0.0, 0.0);
        for c in self.coefficients.iter().rev() {
            slope = slope * p + h;
            h = h * p + c;
        }
        // h is now c1 + c2 p + ...; one factor p is left.
        (h * p, slope * p + h)
    }

    /// A value up to which the polynomial stops rising; `None` where it rises up to `most`.
    pub fn turns_before(&self, most: f64) -> Option<f64> {
        let steps = 1000;
        (0..=steps).map(|k| most * k as f64 / steps as f64).find(|p| self.value(*p).1 <= 0.0)
    }
}

/// Hounsfield units of an attenuation.
///
/// # Example
/// ```
/// assert_eq!(microtome_models::ct::hounsfield(0.02, 0.02), 0.0);
/// assert_eq!(microtome_models::ct::hounsfield(0.0, 0.02), -1000.0);
/// ```
pub fn hounsfield(mu: f64, mu_water: f64) -> f64 {
    1000.0 * (mu - mu_water) / mu_water
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_and_slopes() {
        let b = BeamHardening::new(&[1.1, -0.2, 0.05]).unwrap();
        let (h, slope) = b.value(2.0);
        assert!((h - (2.2 - 0.8 + 0.4)).abs() < 1e-15);
        assert!((slope - (1.1 - 0.8 + 0.6)).abs() < 1e-15);
        assert_eq!(b.value(0.0), (0.0, 1.1));
        assert!(b.turns_before(10.0).is_none());
        let turned = BeamHardening::new(&[1.0, -0.1]).unwrap().turns_before(10.0).unwrap();
        assert!((turned - 5.0).abs() < 0.02);
        for bad in [&[][..], &[0.0], &[-1.0], &[1.0, f64::NAN]] {
            assert!(BeamHardening::new(bad).is_err());
        }
    }

    #[test]
    fn pairs_return_the_polynomial() {
        let truth = BeamHardening::new(&[1.02, 0.03, 0.004, -0.0002]).unwrap();
        let pairs: Vec<[f64; 2]> =
            (0..30).map(|k| 0.2 * f64::from(k)).map(|p| [p, truth.value(p).0]).collect();
        let found = BeamHardening::fit(&pairs, 4).unwrap();
        for (a, b) in found.coefficients().iter().zip(truth.coefficients()) {
            assert!((a - b).abs() < 1e-11, "{found:?}");
        }
        assert!(BeamHardening::fit(&pairs[..3], 4).is_err());
        assert!(BeamHardening::fit(&[[1.0, 1.0]; 5], 2).is_err());
        assert!(BeamHardening::fit(&[[f64::NAN, 1.0]; 5], 1).is_err());
    }
}
