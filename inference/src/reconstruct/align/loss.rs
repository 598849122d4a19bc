//! What a residual costs, and its weight in a step of Gauss and Newton.
//!
//! $$\rho(z) = \tfrac12z^2,\qquad
//!   \rho_\text{Huber}(z) = \begin{cases}\tfrac12z^2 & |z|\le k\\ k|z|-\tfrac12k^2 &
//!   \text{else}\end{cases},\qquad
//!   \rho_t(z) = \tfrac{\nu+1}2\ln\!\Big(1+\frac{z^2}\nu\Big),\qquad w = \rho'(z)/z$$
//!
//! $z$ is the residual in standard deviations of the noise. Source: Huber 1964,
//! doi:10.1214/aoms/1177703732; Lange, Little & Taylor 1989, doi:10.1080/01621459.1989.10478852
//! (t). Validated by `weights_are_slopes` below.

use super::AlignError;

/// The cost of a residual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Half the square.
    Squares,
    /// Half the square up to so many standard deviations, then linear.
    Huber(f64),
    /// Student's t with so many degrees of freedom.
    StudentT(f64),
}

impl Loss {
    /// Reads `squares`, `huber`, `huber:K`, `student_t` or `student_t:NU`.
    ///
    /// # Errors
    /// Another word, a number that is not positive.
    pub fn parse(text: &str) -> Result<Self, AlignError> {
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number)),
            None => (text, None),
        };
        let value = |default: f64| match number {
            None => Ok(default),
            Some(n) => match n.parse::<f64>() {
                Ok(v) if v > 0.0 && v.is_finite() => Ok(v),
                _ => Err(AlignError::setting("loss", format!("`{text}`: {n} is not above 0"))),
            },
        };
        match name {
            "squares" if number.is_none() => Ok(Loss::Squares),
            "huber" => Ok(Loss::Huber(value(1.5)?)),
            "student_t" => Ok(Loss::StudentT(value(4.0)?)),
            _ => Err(AlignError::setting(
                "loss",
                format!("unknown loss `{text}`; use squares, huber[:K] or student_t[:NU]"),
            )),
        }
    }

    /// $\rho(z)$.
    pub fn cost(self, z: f64) -> f64 {
        match self {
            Loss::Squares => 0.5 * z * z,
            Loss::Huber(k) if z.abs() > k => k * z.abs() - 0.5 * k * k,
            Loss::Huber(_) => 0.5 * z * z,
            Loss::StudentT(nu) => 0.5 * (nu + 1.0) * (z * z / nu).ln_1p(),
        }
    }

    /// $\rho'(z)/z$.
    pub fn weight(self, z: f64) -> f64 {
        match self {
            Loss::Squares => 1.0,
            Loss::Huber(k) => (k / z.abs()).min(1.0),
            Loss::StudentT(nu) => (nu + 1.0) / (nu + z * z),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_slopes() {
        for loss in [Loss::Squares, Loss::Huber(1.5), Loss::StudentT(4.0)] {
            assert!(loss.weight(0.0) > 0.0 && loss.cost(0.0) == 0.0);
            for z in [-7.0, -1.4, 0.3, 1.6, 20.0] {
                let slope = (loss.cost(z + 1e-5) - loss.cost(z - 1e-5)) / 2e-5;
                assert!((slope - loss.weight(z) * z).abs() < 1e-8, "{loss:?} {z}");
            }
        }
        assert_eq!(Loss::parse("huber:2").unwrap(), Loss::Huber(2.0));
        assert_eq!(Loss::parse("student_t").unwrap(), Loss::StudentT(4.0));
        assert!(Loss::parse("cauchy").unwrap_err().to_string().contains("cauchy"));
        assert!(Loss::parse("huber:-1").is_err());
    }
}
