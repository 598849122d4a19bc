//! The composed models that the tests of this folder share: how a user writes
//! them, and the same model written out by hand in dual numbers.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

pub(crate) use crate::dual;

use dual::{Dual, Vector, ball, bingham, dot, stick, tensor, tortuosity, watson, zeppelin};
use microtome_models::{Acquisition, FreeKind, Lowered, Model, ModelSpec, PulseTiming};
use std::sync::Arc;

/// One model.
pub struct Case {
    /// An expression, a preset, or the text of a model file.
    pub text: &'static str,
    /// Numbers of the parameters fixed by file.
    pub per_voxel: &'static [f64],
    /// Whether the derivative across the unit sphere is defined, too (the tensor's
    /// rotation is defined for unit vectors only).
    pub off_sphere: bool,
    /// Whether the oracle is too slow for every random set.
    pub slow: bool,
    /// The signal of one measurement, by hand.
    pub oracle: fn(&Named<'_>, f64, [f64; 3]) -> Dual,
}

/// The free values by name, as dual numbers.
pub struct Named<'a> {
    pub names: &'a [&'a str],
    pub x: &'a [f64],
}

impl Named<'_> {
    fn get(&self, name: &str) -> Dual {
        let k = self.names.iter().position(|n| *n == name);
        let k = k.unwrap_or_else(|| panic!("the model has no free value {name}: {:?}", self.names));
        Dual::variable(self.x[k], k)
    }

    fn mu(&self, compartment: &str) -> Vector {
        ["x", "y", "z"].map(|part| self.get(&format!("{compartment}.mu_{part}")))
    }

    fn is_free(&self, name: &str) -> bool {
        self.names.contains(&name)
    }
}

const TORTUOUS: &str = r#"
[[compartment]]
name = "intra"
kind = "stick"
[[compartment]]
name = "extra"
kind = "zeppelin"
[[compartment]]
name = "csf"
kind = "ball"
[[compartment]]
name = "still"
kind = "dot"
[link]
"extra.mu" = { equal = "intra.mu" }
"extra.lambda_par" = { fractional = { of = "intra.lambda_par", factor_name = "extra_ratio" } }
"extra.lambda_perp" = { tortuosity = { lambda_par = "extra.lambda_par", intra = "intra.fraction", extra = "extra.fraction" } }
"csf.lambda_iso" = { fixed = 3.0 }
"still.fraction" = { fixed = 0.1 }
"#;

const KNOWN_AXIS: &str = r#"
[[compartment]]
name = "known"
kind = "stick"
[[compartment]]
kind = "zeppelin"
[[compartment]]
kind = "tensor"
[link]
"known.mu" = { fixed = [0.6, 0.0, 0.8] }
"tensor.mu" = { fixed = [-0.48, 0.6, 0.64] }
"tensor.lambda_3" = { equal = "zeppelin.lambda_perp" }
s0 = { fixed = 1.5 }
"#;

const PER_VOXEL: &str = r#"
[[compartment]]
kind = "stick"
[[compartment]]
kind = "ball"
[link]
"ball.lambda_iso" = { fixed = "free_water.npy" }
s0 = { fixed = "b0.npy" }
"#;

/// A model with both an `equal` chain and a ratio of a ratio.
const CHAINED: &str = r#"
[[compartment]]
kind = "zeppelin"
[[compartment]]
kind = "stick"
[[compartment]]
kind = "ball"
[link]
"stick.mu" = { equal = "zeppelin.mu" }
"stick.lambda_par" = { equal = "ball.lambda_iso" }
"ball.lambda_iso" = { fractional = { of = "zeppelin.lambda_perp", factor_name = "inner" } }
"zeppelin.lambda_perp" = { fractional = { of = "zeppelin.lambda_par", factor_name = "outer" } }
"#;

/// NODDI with a free diffusivity, and a stick of the same axis without dispersion.
const DISPERSED: &str = r#"
[[compartment]]
name = "intra"
kind = "stick"
dispersion = "watson"
[[compartment]]
name = "extra"
kind = "zeppelin"
dispersion = "watson"
[[compartment]]
name = "lone"
kind = "stick"
[[compartment]]
name = "csf"
kind = "ball"
[link]
"extra.mu" = { equal = "intra.mu" }
"extra.odi" = { equal = "intra.odi" }
"lone.mu" = { equal = "intra.mu" }
"extra.lambda_par" = { equal = "intra.lambda_par" }
"extra.lambda_perp" = { tortuosity = { lambda_par = "intra.lambda_par", intra = "intra.fraction", extra = "extra.fraction" } }
"csf.lambda_iso" = { fixed = 3.0 }
[range]
"intra.odi" = [0.1, 0.99]
"#;

/// Bingham-NODDI with a free diffusivity and two anisotropies, and a stick of the
/// same axis in another plane.
const FANNED: &str = r#"
[[compartment]]
name = "intra"
kind = "stick"
dispersion = "bingham"
[[compartment]]
name = "extra"
kind = "zeppelin"
dispersion = "bingham"
[[compartment]]
name = "girdle"
kind = "stick"
dispersion = "bingham"
[[compartment]]
name = "csf"
kind = "ball"
[link]
"extra.mu" = { equal = "intra.mu" }
"extra.odi" = { equal = "intra.odi" }
"extra.psi" = { equal = "intra.psi" }
"girdle.mu" = { equal = "intra.mu" }
"girdle.odi" = { equal = "intra.odi" }
"girdle.beta_fraction" = { fixed = 1.0 }
"girdle.lambda_par" = { equal = "intra.lambda_par" }
"extra.lambda_par" = { equal = "intra.lambda_par" }
"extra.lambda_perp" = { tortuosity = { lambda_par = "intra.lambda_par", intra = "intra.fraction", extra = "extra.fraction" } }
"csf.lambda_iso" = { fixed = 3.0 }
[range]
"intra.odi" = [0.1, 0.99]
"#;

/// All models.
pub fn cases() -> Vec<Case> {
    let case = |text, oracle| Case { text, per_voxel: &[], off_sphere: true, slow: false, oracle };
    vec![
        case("ball", |v, b, _| v.get("s0") * ball(b, v.get("ball.lambda_iso"))),
        case("dot", |v, _, _| v.get("s0") * dot()),
        case("ball_stick", |v, b, g| {
            let s = stick(b, g, v.mu("stick"), v.get("stick.lambda_par"));
            let w = ball(b, v.get("ball.lambda_iso"));
            v.get("s0") * (v.get("stick.fraction") * s + v.get("ball.fraction") * w)
        }),
        case("stick_zeppelin_ball", |v, b, g| {
            let (mu, par) = (v.mu("stick"), v.get("stick.lambda_par"));
            assert!(!v.is_free("zeppelin.lambda_par") && !v.is_free("zeppelin.mu_x"));
            let z = zeppelin(b, g, mu, par, v.get("zeppelin.lambda_perp"));
            let total = v.get("stick.fraction") * stick(b, g, mu, par)
                + v.get("zeppelin.fraction") * z
                + v.get("ball.fraction") * ball(b, v.get("ball.lambda_iso"));
            v.get("s0") * total
        }),
        case("ball_sticks_2", |v, b, g| {
            let par = v.get("stick.lambda_par");
            let total = v.get("stick.fraction") * stick(b, g, v.mu("stick"), par)
                + v.get("stick_2.fraction") * stick(b, g, v.mu("stick_2"), par)
                + v.get("ball.fraction") * ball(b, v.get("ball.lambda_iso"));
            v.get("s0") * total
        }),
        case("stick + zeppelin + ball + dot", |v, b, g| {
            let (par, perp) = (v.get("zeppelin.lambda_par"), v.get("zeppelin.lambda_perp"));
            let total = v.get("stick.fraction")
                * stick(b, g, v.mu("stick"), v.get("stick.lambda_par"))
                + v.get("zeppelin.fraction") * zeppelin(b, g, v.mu("zeppelin"), par, perp)
                + v.get("ball.fraction") * ball(b, v.get("ball.lambda_iso"))
                + v.get("dot.fraction") * dot();
            v.get("s0") * total
        }),
        Case { off_sphere: false, ..case("tensor", |v, b, g| v.get("s0") * free_tensor(v, b, g)) },
        Case {
            off_sphere: false,
            ..case("tensor + ball", |v, b, g| {
                let w = ball(b, v.get("ball.lambda_iso"));
                v.get("s0")
                    * (v.get("tensor.fraction") * free_tensor(v, b, g) + v.get("ball.fraction") * w)
            })
        },
        case(TORTUOUS, |v, b, g| {
            let (mu, par) = (v.mu("intra"), v.get("intra.lambda_par"));
            let (intra, extra) = (v.get("intra.fraction"), v.get("extra.fraction"));
            let extra_par = v.get("extra_ratio") * par;
            let perp = tortuosity(extra_par, intra, extra);
            let total = intra * stick(b, g, mu, par)
                + extra * zeppelin(b, g, mu, extra_par, perp)
                + v.get("csf.fraction") * ball(b, Dual::constant(3.0))
                + dot() * 0.1;
            v.get("s0") * total
        }),
        case(KNOWN_AXIS, |v, b, g| {
            let known = [0.6, 0.0, 0.8].map(Dual::constant);
            let turned = [-0.48, 0.6, 0.64].map(Dual::constant);
            let (par, perp) = (v.get("zeppelin.lambda_par"), v.get("zeppelin.lambda_perp"));
            let lambda = [v.get("tensor.lambda_1"), v.get("tensor.lambda_2"), perp];
            let total = v.get("known.fraction") * stick(b, g, known, v.get("known.lambda_par"))
                + v.get("zeppelin.fraction") * zeppelin(b, g, v.mu("zeppelin"), par, perp)
                + v.get("tensor.fraction") * tensor(b, g, turned, v.get("tensor.psi"), lambda);
            total * 1.5
        }),
        Case {
            per_voxel: &[2.2, 0.8],
            ..case(PER_VOXEL, |v, b, g| {
                let s = stick(b, g, v.mu("stick"), v.get("stick.lambda_par"));
                let w = ball(b, Dual::constant(2.2));
                (v.get("stick.fraction") * s + v.get("ball.fraction") * w) * 0.8
            })
        },
        case(CHAINED, |v, b, g| {
            let (mu, par) = (v.mu("zeppelin"), v.get("zeppelin.lambda_par"));
            let perp = v.get("outer") * par;
            let iso = v.get("inner") * perp;
            let total = v.get("zeppelin.fraction") * zeppelin(b, g, mu, par, perp)
                + v.get("stick.fraction") * stick(b, g, mu, iso)
                + v.get("ball.fraction") * ball(b, iso);
            v.get("s0") * total
        }),
        Case {
            slow: true,
            off_sphere: false,
            ..case(DISPERSED, |v, b, g| {
                let (mu, odi) = (v.mu("intra"), v.get("intra.odi"));
                let par = v.get("intra.lambda_par");
                let (intra, extra) = (v.get("intra.fraction"), v.get("extra.fraction"));
                let perp = tortuosity(par, intra, extra);
                // The axis of a member of the bundle may be any unit vector at this cosine.
                let at = |z: f64| [z, (1.0 - z * z).sqrt(), 0.0].map(Dual::constant);
                let x = [1.0, 0.0, 0.0];
                let bundle = watson(g, mu, odi, |z| {
                    intra * stick(b, x, at(z), par) + extra * zeppelin(b, x, at(z), par, perp)
                });
                let lone = stick(b, g, mu, v.get("lone.lambda_par"));
                let total = bundle
                    + v.get("lone.fraction") * lone
                    + v.get("csf.fraction") * ball(b, Dual::constant(3.0));
                v.get("s0") * total
            })
        },
        Case {
            slow: true,
            off_sphere: false,
            ..case(FANNED, |v, b, g| {
                let (mu, odi) = (v.mu("intra"), v.get("intra.odi"));
                let (par, psi) = (v.get("intra.lambda_par"), v.get("intra.psi"));
                let (intra, extra) = (v.get("intra.fraction"), v.get("extra.fraction"));
                let perp = tortuosity(par, intra, extra);
                let at = |z: f64| [z, (1.0 - z * z).sqrt(), 0.0].map(Dual::constant);
                let x = [1.0, 0.0, 0.0];
                let sticks = |z| stick(b, x, at(z), par);
                let zeppelins = |z| zeppelin(b, x, at(z), par, perp);
                let fan = |name: &str| [odi, psi, v.get(&format!("{name}.beta_fraction"))];
                let girdle = [odi, v.get("girdle.psi"), Dual::constant(1.0)];
                let total = intra * bingham(g, mu, fan("intra"), sticks)
                    + extra * bingham(g, mu, fan("extra"), zeppelins)
                    + v.get("girdle.fraction") * bingham(g, mu, girdle, sticks)
                    + v.get("csf.fraction") * ball(b, Dual::constant(3.0));
                v.get("s0") * total
            })
        },
    ]
}

fn free_tensor(v: &Named<'_>, b: f64, g: [f64; 3]) -> Dual {
    let lambda = [1, 2, 3].map(|i| v.get(&format!("tensor.lambda_{i}")));
    tensor(b, g, v.mu("tensor"), v.get("tensor.psi"), lambda)
}

impl Case {
    /// The specification.
    pub fn spec(&self) -> ModelSpec {
        if self.text.contains("[[") {
            ModelSpec::from_toml(self.text)
        } else {
            ModelSpec::parse(self.text)
        }
        .unwrap()
    }

    /// The compiled model.
    pub fn model(&self) -> Model {
        Model::new(self.spec()).unwrap()
    }

    /// The first words, for messages.
    pub fn name(&self) -> String {
        self.spec().names().join(" + ")
    }
}

/// A stream of uniform numbers from a seed (SplitMix64): enough to fill test data.
pub struct Uniform(pub u64);

impl Uniform {
    /// A number in [0, 1).
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number in [low, high).
    pub fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.next()
    }

    /// A point on the sphere.
    pub fn direction(&mut self) -> [f64; 3] {
        let z = self.within(-1.0, 1.0);
        let angle = self.within(0.0, std::f64::consts::TAU);
        let r = (1.0 - z * z).sqrt();
        let v = [r * angle.cos(), r * angle.sin(), z];
        let norm = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
        v.map(|c| c / norm)
    }

    /// Two to five shells of four to fifteen directions with b up to 8 ms/um2 and their own pulse times, and up
    /// to two b = 0 images.
    pub fn acquisition(&mut self) -> Acquisition {
        let (mut b, mut g, mut delta, mut big_delta) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut shell = |uniform: &mut Self, weighting: f64, n: usize| {
            let d = uniform.within(3.0, 30.0);
            let separation = d + uniform.within(0.0, 40.0);
            for _ in 0..n {
                b.push(weighting);
                g.push(uniform.direction());
                delta.push(d);
                big_delta.push(separation);
            }
        };
        let images = self.within(0.0, 3.0) as usize;
        shell(self, 0.0, images);
        for _ in 0..2 + self.within(0.0, 4.0) as usize {
            let (weighting, n) = (self.within(0.1, 8.0), 4 + self.within(0.0, 12.0) as usize);
            shell(self, weighting, n);
        }
        let timing = PulseTiming { delta_ms: delta, big_delta_ms: big_delta };
        Acquisition::from_b(&b, &g, Some(timing), None).unwrap()
    }

    /// A set of values of a model: scalars in their ranges, axes off the x axis by
    /// more than `margin` (the sine), fractions on their simplex.
    pub fn values(&mut self, model: &Model, margin: f64) -> Vec<f64> {
        let mut x = vec![f64::NAN; model.values()];
        for free in model.free() {
            match &free.kind {
                FreeKind::Scalar { .. } => {
                    x[free.at] = self.within(free.range[0], free.range[1].min(4.0))
                }
                FreeKind::Scale => x[free.at] = self.within(0.5, 2.0),
                FreeKind::Axis => {
                    let mut mu = self.direction();
                    while mu[1].hypot(mu[2]) < margin {
                        mu = self.direction();
                    }
                    x[free.at..free.at + 3].copy_from_slice(&mu);
                }
                FreeKind::Fractions { total, .. } => {
                    let shares: Vec<f64> =
                        (0..free.len).map(|_| -(1.0 - self.next()).ln()).collect();
                    let sum: f64 = shares.iter().sum();
                    for (i, share) in shares.iter().enumerate() {
                        x[free.at + i] = total * share / sum;
                    }
                }
            }
        }
        x
    }
}

/// A model on an acquisition.
pub fn lowered(model: &Model, acquisition: &Acquisition) -> Lowered {
    Lowered::new(Arc::new(model.clone()), acquisition).unwrap()
}

/// Two directions across a unit vector.
pub fn across(m: [f64; 3]) -> [[f64; 3]; 2] {
    let least = (0..3).min_by(|&i, &j| m[i].abs().total_cmp(&m[j].abs())).unwrap_or(0);
    let mut e = [0.0; 3];
    e[least] = 1.0;
    let cross = |a: [f64; 3], b: [f64; 3]| {
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    };
    let u = cross(m, e);
    let norm = (u[0] * u[0] + u[1] * u[1] + u[2] * u[2]).sqrt();
    let u = u.map(|c| c / norm);
    [u, cross(m, u)]
}
