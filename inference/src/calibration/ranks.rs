//! The quantities that are ranked, and their ranks.
//!
//! | quantity | of |
//! |---|---|
//! | the value | every free scalar, fraction, $S_0$ and σ |
//! | $(e_k\cdot\mu)^2$, k = x, y, z | every free axis, whose sign says nothing |
//! | $(e_k\cdot m_2)^2$, k = x, y, z | every free angle about such an axis, whose origin and sign say nothing: the second axis of its frame |
//! | $\ln p(y\,|\,\theta)$ | the data |
//!
//! Two fractions are one number, of which the first is ranked. Values are brought to the
//! form of [`Model::canonicalise`] first, truths and draws alike: exchangeable compartments
//! by falling fraction.
//!
//! Validated by `ranks_by_hand` and `quantities_of_a_model` below.

use microtome_kernels::philox::PhiloxRng;
use microtome_models::{Frame, FreeKind, Model};
use rand::RngExt;

/// The quantities of a model that are ranked.
#[derive(Debug, Clone)]
pub struct Quantities {
    names: Vec<String>,
    kinds: Vec<Kind>,
    axes: Vec<(String, Direction)>,
}

/// A direction that a model has, up to its sign.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Direction {
    /// Three values, by the first.
    Axis(usize),
    /// The second axis of the frame of an axis (its first value) and an angle.
    Second(usize, usize),
}

impl Direction {
    /// The direction at values.
    pub fn at(self, x: &[f64]) -> [f64; 3] {
        let axis = |k: usize| [x[k], x[k + 1], x[k + 2]];
        match self {
            Self::Axis(k) => axis(k),
            Self::Second(k, angle) => Frame::new(axis(k), x[angle]).axes[1],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Value(usize),
    Square(Direction, usize),
    LnLikelihood,
}

impl Quantities {
    /// Of a model, with `sigma` when the noise scale is free.
    pub fn new(model: &Model, sigma: bool) -> Self {
        let values = model.value_names();
        let mut out = Self { names: Vec::new(), kinds: Vec::new(), axes: Vec::new() };
        let turns = model.turns();
        for free in model.free() {
            let turned = turns.iter().find(|(angle, _)| *angle == free.at);
            if let (Some(&(angle, axis)), FreeKind::Scalar { period: Some(_) }) =
                (turned, &free.kind)
            {
                out.push_direction(&free.name, Direction::Second(axis, angle));
                continue;
            }
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
                FreeKind::Axis => out.push_direction(&free.name, Direction::Axis(free.at)),
            }
        }
        if sigma {
            out.push("sigma".into(), Kind::Value(model.values()));
        }
        out.push("ln_likelihood".into(), Kind::LnLikelihood);
        out
    }

    fn push_direction(&mut self, name: &str, direction: Direction) {
        for (part, axis) in ["x", "y", "z"].into_iter().enumerate() {
            self.push(format!("{name}_{axis}^2"), Kind::Square(direction, part));
        }
        self.axes.push((name.to_string(), direction));
    }

    fn push(&mut self, name: String, kind: Kind) {
        self.names.push(name);
        self.kinds.push(kind);
    }

    /// Their names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The free directions: axes and the second axes of frames.
    pub fn axes(&self) -> &[(String, Direction)] {
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
            Kind::Square(direction, part) => direction.at(x)[*part].powi(2),
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
        assert_eq!(q.axes(), [("stick.mu".to_string(), Direction::Axis(0))]);
        assert_eq!(q.scalars().collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
        let x = [0.6, -0.8, 0.0, 1.7, 1.0, 0.4, 0.6, 2.0, 0.1];
        let values = q.evaluate(&x, -3.0);
        let squares = [0.36, 0.64, 0.0, 1.7, 1.0, 0.4, 2.0, 0.1, -3.0];
        assert!(values.iter().zip(squares).all(|(a, b)| (a - b).abs() < 1e-15), "{values:?}");
        let three = Model::new(ModelSpec::parse("stick + zeppelin + ball").unwrap()).unwrap();
        let names = Quantities::new(&three, false).names().join(" ");
        assert!(names.contains("stick.fraction zeppelin.fraction ball.fraction s0"), "{names}");
    }

    /// An angle counts by the second axis of its frame, which stays where the axis is reversed.
    #[test]
    fn an_angle_is_ranked_by_the_axis_that_it_turns() {
        let model = Model::new(ModelSpec::parse("noddi_bingham").unwrap()).unwrap();
        let q = Quantities::new(&model, false);
        let names = q.names().join(" ");
        assert!(names.contains("intra.psi_x^2 intra.psi_y^2 intra.psi_z^2"), "{names}");
        assert!(!names.split(' ').any(|n| n == "intra.psi"), "{names}");
        assert_eq!(q.axes().len(), 2);
        let turns = model.turns();
        assert_eq!(turns.len(), 1);
        let prior = microtome_models::PriorSampler::new(
            &Model::new(ModelSpec::parse("noddi_bingham").unwrap().with_scale_priors(1.0, false))
                .unwrap(),
            false,
        )
        .unwrap();
        for row in 0..20 {
            let x = prior.simulate(&model, 5, row);
            let mut flipped = x.clone();
            model.flip_axis(turns[0].1, &mut flipped);
            assert!((x[turns[0].1] + flipped[turns[0].1]).abs() < 1e-12);
            for (a, b) in q.evaluate(&x, 0.0).iter().zip(q.evaluate(&flipped, 0.0)) {
                assert!((a - b).abs() < 1e-9, "{x:?} {flipped:?}");
            }
        }
    }
}
