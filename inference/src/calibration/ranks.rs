//! The quantities that are ranked, and their ranks.
//!
//! | quantity | of |
//! |---|---|
//! | the value | every free scalar, fraction, $S_0$ and σ |
//! | $(e_k\cdot\mu)^2$, k = x, y, z | every free axis, whose sign says nothing |
//! | $\ln p(y\,|\,\theta)$ | the data |
//!
//! Two fractions are one number, of which the first is ranked. Values are brought to the
//! form of [`Model::canonicalise`] first, truths and draws alike: exchangeable compartments
//! by falling fraction.
//!
//! Validated by `ranks_by_hand` and `quantities_of_a_model` below.

use microtome_kernels::philox::PhiloxRng;
use microtome_models::{FreeKind, Model};
use rand::RngExt;

/// The quantities of a model that are ranked.
#[derive(Debug, Clone)]
pub struct Quantities {
    names: Vec<String>,
    kinds: Vec<Kind>,
    axes: Vec<(String, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Value(usize),
    Square(usize),
    LnLikelihood,
}

impl Quantities {
    /// Of a model, with `sigma` when the noise scale is free.
    pub fn new(model: &Model, sigma: bool) -> Self {
        let values = model.value_names();
        let mut out = Self { names: Vec::new(), kinds: Vec::new(), axes: Vec::new() };
        for free in model.free() {
            match &free.kind {
                FreeKind::Scalar { .. } | FreeKind::Scale => {
                    out.push(free.name.clone(), Kind::Value(free.at));
                }
                FreeKind::Fractions { .. } => {
                    let n = if free.len == 2 { 1 } else { free.len };
                    for (k, name) in values.iter().enumerate().skip(free.at).take(n) {
                        out.push((*name).to_string(), Kind::Value(k));
                    }
                }
                FreeKind::Axis => {
                    for (k, name) in values.iter().enumerate().skip(free.at).take(3) {
                        out.push(format!("{name}^2"), Kind::Square(k));
                    }
                    out.axes.push((free.name.clone(), free.at));
                }
            }
        }
        if sigma {
            out.push("sigma".into(), Kind::Value(model.values()));
        }
        out.push("ln_likelihood".into(), Kind::LnLikelihood);
        out
    }

    fn push(&mut self, name: String, kind: Kind) {
        self.names.push(name);
        self.kinds.push(kind);
    }

    /// Their names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Names of the free axes and their first values.
    pub fn axes(&self) -> &[(String, usize)] {
        &self.axes
    }

    /// Indices of the quantities that are single parameters.
    pub fn scalars(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.kinds.len()).filter(|k| matches!(self.kinds[*k], Kind::Value(_)))
    }

    /// The quantities at canonical values.
    ///
    /// # Shapes
    /// `x` `[value]`, σ last when it is free.
    pub fn evaluate(&self, x: &[f64], ln_likelihood: f64) -> Vec<f64> {
        let of = |kind: &Kind| match kind {
            Kind::Value(k) => x[*k],
            Kind::Square(k) => x[*k] * x[*k],
            Kind::LnLikelihood => ln_likelihood,
        };
        self.kinds.iter().map(of).collect()
    }
}

/// The number of draws below the truth; among equal ones its place is random.
pub fn rank(truth: f64, draws: impl Iterator<Item = f64>, rng: &mut PhiloxRng) -> u32 {
    let (mut below, mut equal) = (0, 0);
    for draw in draws {
        below += u32::from(draw < truth);
        equal += u32::from(draw == truth);
    }
    if equal == 0 { below } else { below + rng.random_range(0..=equal) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use microtome_models::ModelSpec;

    #[test]
    fn ranks_by_hand() {
        let mut rng = PhiloxRng::new(1, 0, 0);
        let draws = [0.5, 1.0, 2.0, 4.0];
        assert_eq!(rank(0.1, draws.into_iter(), &mut rng), 0);
        assert_eq!(rank(1.5, draws.into_iter(), &mut rng), 2);
        assert_eq!(rank(9.0, draws.into_iter(), &mut rng), 4);
        // Two equal draws: ranks 1, 2 and 3 are equally likely.
        let mut counts = [0; 5];
        for _ in 0..3000 {
            counts[rank(1.0, [0.5, 1.0, 1.0, 4.0].into_iter(), &mut rng) as usize] += 1;
        }
        assert_eq!((counts[0], counts[4]), (0, 0));
        assert!(counts[1..4].iter().all(|c| (850..1150).contains(c)), "{counts:?}");
    }

    #[test]
    fn quantities_of_a_model() {
        let model = Model::new(ModelSpec::parse("stick + ball").unwrap()).unwrap();
        let q = Quantities::new(&model, true);
        let expected = [
            "stick.mu_x^2",
            "stick.mu_y^2",
            "stick.mu_z^2",
            "stick.lambda_par",
            "ball.lambda_iso",
            "stick.fraction",
            "s0",
            "sigma",
            "ln_likelihood",
        ];
        assert_eq!(q.names(), expected);
        assert_eq!(q.axes(), [("stick.mu".to_string(), 0)]);
        assert_eq!(q.scalars().collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
        let x = [0.6, -0.8, 0.0, 1.7, 1.0, 0.4, 0.6, 2.0, 0.1];
        let values = q.evaluate(&x, -3.0);
        let squares = [0.36, 0.64, 0.0, 1.7, 1.0, 0.4, 2.0, 0.1, -3.0];
        assert!(values.iter().zip(squares).all(|(a, b)| (a - b).abs() < 1e-15), "{values:?}");
        let three = Model::new(ModelSpec::parse("stick + zeppelin + ball").unwrap()).unwrap();
        let names = Quantities::new(&three, false).names().join(" ");
        assert!(names.contains("stick.fraction zeppelin.fraction ball.fraction s0"), "{names}");
    }
}
