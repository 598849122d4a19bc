//! Candle graphs as densities: gradients against differences, constraints against
//! quadrature, chains against known moments, failures that must not become panics.

#![cfg(feature = "graph")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use crate::voxels;

use candle_core::{DType, Device, Result, Tensor};
use microtome_inference::graph_density::GraphDensity;
use microtome_inference::graph_density::constraint::{
    Constraint, Parameters, interval, ordered, positive, simplex,
};
use microtome_inference::graph_density::terms::{
    self, Fused, Independent, LinearNormal, Term, Univariate,
};
use microtome_inference::sample::{
    LnDensity, Metric, NutsOptions, SampleDensityError, Start, run_chain, sample_density,
};
use microtome_kernels::philox::PhiloxRng;
use rand::RngExt;
use std::f64::consts::PI;
use std::sync::Arc;

fn vector(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, values.len(), &Device::Cpu).unwrap()
}

/// The gradient against central differences; the error of a step h is h² times the third
/// derivative (order 1 here) and 1e-16 / h of rounding: 1e-8 relative for h = 1e-5.
fn check_gradient(density: &mut impl LnDensity, x: &[f64], what: &str) {
    let n = x.len();
    let (mut g, mut unused) = (vec![0.0; n], vec![0.0; n]);
    assert!(density.ln_density(x, &mut g).is_finite(), "{what}: {:?}", density.reason());
    for k in 0..n {
        let h = 1e-5;
        let mut at = |h: f64| {
            let mut x = x.to_vec();
            x[k] += h;
            density.ln_density(&x, &mut unused)
        };
        let difference = (at(h) - at(-h)) / (2.0 * h);
        let scale = 1.0 + g[k].abs();
        assert!(
            (g[k] - difference).abs() < 1e-7 * scale,
            "{what}, coordinate {k}: {} against {difference}",
            g[k]
        );
    }
}

fn graph<F: Fn(&Tensor) -> Result<Tensor>>(dim: usize, f: F) -> GraphDensity<F> {
    GraphDensity::new(dim, &Device::Cpu, f).unwrap()
}

/// A smooth function of values with a different slope in each.
fn probe(v: &Tensor) -> Result<Tensor> {
    let n = v.dims1()?;
    let weights = vector(&(0..n).map(|k| 0.3 + 0.2 * k as f64).collect::<Vec<_>>());
    ((v * &weights)?.sin()?.sum_all()? + v.sqr()?.sum_all()? * 0.1)?.contiguous()
}

type Map = fn(&Tensor) -> Result<(Tensor, Tensor)>;

#[test]
fn derivatives_equal_differences() {
    let maps: [(&str, Map); 4] = [
        ("positive", positive),
        ("interval", |x| interval(x, -1.5, 4.0)),
        ("ordered", ordered),
        ("simplex", simplex),
    ];
    for (name, map) in maps {
        let f = |x: &Tensor| {
            let (v, ln_jacobian) = map(x)?;
            probe(&v)? + (ln_jacobian * 0.7)?
        };
        check_gradient(&mut graph(4, f), &[0.3, -1.2, 0.8, 1.9], name);
    }
    let univariate = [
        Univariate::Normal { mean: 0.4, sd: 1.3 },
        Univariate::LogNormal { mean: 0.2, sd: 0.7 },
        Univariate::Cauchy { location: -0.3, scale: 0.8 },
        Univariate::Gamma { shape: 2.5, rate: 1.5 },
        Univariate::Beta { a: 2.0, b: 3.5 },
    ];
    for density in univariate {
        let term = Independent { at: 0..2, density };
        let parameters = Parameters::new().vector("v", 2, Constraint::Interval(0.0, 1.0)).unwrap();
        let fused = Fused::new(parameters).with(term).unwrap();
        check_gradient(
            &mut graph(2, |x| fused.ln_density(x)),
            &[0.4, -0.9],
            &format!("{density:?}"),
        );
        // As the whole density without a graph, the same to the bit.
        let (mut whole, mut built) = (fused.density().unwrap(), graph(2, |x| fused.ln_density(x)));
        for x in [[0.4, -0.9], [-2.0, 3.1]] {
            let (mut a, mut b) = ([9.0; 2], [9.0; 2]);
            assert_eq!(whole.ln_density(&x, &mut a), built.ln_density(&x, &mut b));
            assert_eq!(a, b, "{density:?}");
        }
        // Where there is no number it says why.
        assert!(whole.ln_density(&[f64::NAN; 2], &mut [0.0; 2]).is_nan());
        assert!(whole.reason().is_some());
    }
    let term = LinearNormal::new(&DESIGN, &Y, 0..2, 2).unwrap();
    let parameters = Parameters::new()
        .vector("beta", 2, Constraint::Real)
        .unwrap()
        .scalar("sigma", Constraint::Above(0.0))
        .unwrap();
    let fused = Fused::new(parameters).with(term).unwrap();
    // The node alone takes its gradient as it is, a sum with Candle ops walks back.
    check_gradient(&mut graph(3, |x| fused.ln_density(x)), &[0.9, 2.1, -0.4], "linear");
    let more = |x: &Tensor| fused.ln_density(x)? * 0.5 + x.sqr()?.sum_all()?;
    check_gradient(&mut graph(3, more), &[0.9, 2.1, -0.4], "linear and Candle");
}

const DESIGN: [f64; 10] = [1.0, 0.0, 1.0, 1.0, 1.0, 2.0, 1.0, 3.0, 1.0, 5.0];
const Y: [f64; 5] = [1.1, 2.9, 5.2, 6.8, 11.5];

#[test]
fn linear_normal_is_the_sum_over_rows() {
    let term = LinearNormal::new(&DESIGN, &Y, 0..2, 2).unwrap();
    let v = [0.7, 2.2, 0.8];
    let direct: f64 = DESIGN
        .chunks(2)
        .zip(Y)
        .map(|(row, y)| {
            let mean = row[0] * v[0] + row[1] * v[1];
            Univariate::Normal { mean, sd: v[2] }.ln_density(y)
        })
        .sum();
    let value = term.add(&v, &mut [0.0; 3]);
    assert!((value - direct).abs() < 1e-12 * direct.abs(), "{value} against {direct}");
    // As a node on values, in f64 and f32.
    let node = terms::apply(&vector(&v), &Arc::new(term.clone())).unwrap();
    assert_eq!(node.to_scalar::<f64>().unwrap(), value);
    let single = vector(&v).to_dtype(DType::F32).unwrap();
    let node = terms::apply(&single, &Arc::new(term)).unwrap().to_scalar::<f32>().unwrap();
    assert!((f64::from(node) - value).abs() < 1e-4 * value.abs());
    let too_few = LinearNormal::new(&DESIGN[..2], &Y[..1], 0..2, 2).unwrap_err().to_string();
    assert!(too_few.contains("1 rows and 2 coefficients"), "{too_few}");
}

/// Densities with mass 1 keep it in coordinates: the trapezoid rule on (-12, 12) in
/// steps of 0.05 is exact to 1e-8 for these integrands, whose tails fall at least as
/// e^-|x|.
#[test]
fn densities_keep_their_mass() {
    let mass = |f: &dyn Fn(f64) -> f64| -> f64 {
        (-480..=480).map(|i| 0.05 * f(0.05 * f64::from(i)).exp()).sum()
    };
    let one = |map: Map, density: Univariate| {
        mass(&|x| {
            let (v, ln_jacobian) = map(&vector(&[x])).unwrap();
            density.ln_density(v.to_vec1::<f64>().unwrap()[0])
                + ln_jacobian.to_scalar::<f64>().unwrap()
        })
    };
    let gamma = one(positive, Univariate::Gamma { shape: 2.5, rate: 4.0 });
    assert!((gamma - 1.0).abs() < 1e-6, "{gamma}");
    let beta = one(|x| interval(x, 0.0, 1.0), Univariate::Beta { a: 2.0, b: 3.5 });
    assert!((beta - 1.0).abs() < 1e-6, "{beta}");
    // Two coordinates: the ordered normal pair has mass 1/2, the flat simplex 1/2.
    let two = |f: &dyn Fn([f64; 2]) -> f64| -> f64 {
        (-160..=160).map(|i| 0.1 * f64::from(i)).map(|a| 0.1 * mass_row(a, f)).sum()
    };
    fn mass_row(a: f64, f: &dyn Fn([f64; 2]) -> f64) -> f64 {
        (-160..=160).map(|j| 0.1 * f([a, 0.1 * f64::from(j)]).exp()).sum()
    }
    let p = Parameters::new().vector("v", 2, Constraint::Ordered).unwrap();
    let pair = two(&|x| {
        let mut v = [0.0; 2];
        let ln_jacobian = p.constrain(&x, &mut v);
        v.iter().map(|v| Univariate::Normal { mean: 0.0, sd: 1.0 }.ln_density(*v)).sum::<f64>()
            + ln_jacobian
    });
    assert!((pair - 0.5).abs() < 1e-6, "{pair}");
    let p = Parameters::new().vector("v", 3, Constraint::Simplex).unwrap();
    let triangle = two(&|x| p.constrain(&x, &mut [0.0; 3]));
    assert!((triangle - 0.5).abs() < 1e-5, "{triangle}");
}

#[test]
fn elementary_ops_and_fused_terms_agree() {
    let mean = vector(&[1.0, -2.0]);
    let ops = |x: &Tensor| {
        let (v, ln_jacobian) = positive(x)?;
        (v - &mean)?.sqr()?.sum_all()? * -0.5 + ln_jacobian
    };
    let parameters = Parameters::new().vector("v", 2, Constraint::Above(0.0)).unwrap();
    let fused = Fused::new(parameters)
        .with(|v: &[f64], g: &mut [f64]| {
            g[0] -= v[0] - 1.0;
            g[1] -= v[1] + 2.0;
            -0.5 * ((v[0] - 1.0).powi(2) + (v[1] + 2.0).powi(2))
        })
        .unwrap();
    let x = [0.3, -0.8];
    let (mut a, mut b, mut c) = ([0.0; 2], [0.0; 2], [0.0; 2]);
    let left = graph(2, ops).ln_density(&x, &mut a);
    let right = graph(2, |x| fused.ln_density(x)).ln_density(&x, &mut b);
    let mut single =
        GraphDensity::with_dtype(2, DType::F32, &Device::Cpu, |x| fused.ln_density(x)).unwrap();
    let half = single.ln_density(&x, &mut c);
    assert!((left - right).abs() < 1e-14 && (left - half).abs() < 1e-5);
    for k in 0..2 {
        assert!((a[k] - b[k]).abs() < 1e-14 && (a[k] - c[k]).abs() < 1e-5);
    }
}

// ---- chains ---------------------------------------------------------------

#[test]
fn threads_do_not_change_a_bit_and_metrics_agree_on_a_correlated_normal() {
    // Correlation 0.95 between coordinates of sd 1 and 100.
    let ops = |x: &Tensor| {
        let (a, b) = (x.narrow(0, 0, 1)?, (x.narrow(0, 1, 1)? * 0.01)?);
        let r = (&b - (&a * 0.95)?)?;
        ((a.sqr()? + (r.sqr()? / (1.0 - 0.95 * 0.95))?)? * -0.5)?.sum_all()
    };
    for metric in [Metric::Diagonal, Metric::LowRank] {
        let options =
            NutsOptions { metric, tune: 500, draws: 500, chains: 2, ..NutsOptions::default() };
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                sample_density(
                    |_| GraphDensity::new(2, &Device::Cpu, ops),
                    &Start::default(),
                    &options,
                    5,
                )
                .unwrap()
            })
        };
        let (one, four) = (run(1), run(4));
        let bits = |p: &microtome_inference::sample::DensityPosterior| {
            [p.coordinate(0), p.coordinate(1)]
                .concat()
                .iter()
                .map(|v| v.to_bits())
                .collect::<Vec<_>>()
        };
        assert_eq!(bits(&one), bits(&four));
        for (k, sd) in [(0, 1.0), (1, 100.0)] {
            let s = one.summary(k);
            assert!(s.mean.abs() < 4.0 * s.mcse_mean, "{metric:?} {k}: {s:?}");
            assert!((s.sd / sd - 1.0).abs() < 0.2, "{metric:?} {k}: {s:?}");
        }
        assert!(one.chains[0].start.iter().all(|x| x.abs() < 2.0));
        assert_ne!(one.chains[0].start, one.chains[1].start);
    }
}

const STICK: &str = r#"
[[compartment]]
kind = "stick"
[[compartment]]
kind = "ball"
[link]
"ball.lambda_iso" = { equal = "stick.lambda_par" }
[prior]
"stick.lambda_par" = { lognormal = [0.4054651081081644, 0.5] }
"s0" = { lognormal = [0.0, 1.0] }
"#;

/// The same posterior from the model's Candle graph, in other coordinates (the axis as a
/// normalised normal vector), and from the fused density of the voxel sampler.
#[test]
fn ball_and_stick_graph_equals_the_fused_density() {
    use microtome_models::NoiseKind;
    let acquisition = voxels::scheme(3, &[(1.0, 16), (2.5, 16)]);
    let lowered = voxels::lowered(STICK, NoiseKind::Gaussian, &acquisition);
    let at = |name: &str| voxels::at(&lowered.model, name);
    let names: Vec<String> = lowered.model.value_names().iter().map(ToString::to_string).collect();
    let mut truth = vec![0.0; names.len()];
    for (name, value) in [
        ("s0", 1.0),
        ("stick.lambda_par", 1.7),
        ("stick.fraction", 0.55),
        ("ball.fraction", 0.45),
        ("stick.mu_x", 0.6),
        ("stick.mu_z", 0.8),
    ] {
        truth[at(name)] = value;
    }
    let sigma = 0.05;
    let clean = voxels::predict(&lowered, &truth);
    let mut rng = PhiloxRng::new(17, 0, 9);
    let y: Vec<f64> = clean.iter().map(|s| s + sigma * voxels::normal(&mut rng)).collect();
    let data = vector(&y).reshape((1, y.len())).unwrap();

    // Coordinates: ln s0, ln lambda, logit f, and an axis of three.
    let values = |x: &Tensor| -> Result<(Tensor, Tensor)> {
        let (positive, _) = positive(&x.narrow(0, 0, 2)?)?;
        let (f, j2) = interval(&x.narrow(0, 2, 1)?, 0.0, 1.0)?;
        let axis = x.narrow(0, 3, 3)?;
        // Uniform direction, radius N(1, 0.1): density of the vector over r².
        let square = axis.sqr()?.sum_all()?;
        let radius = square.sqrt()?;
        let shell = ((&radius - 1.0)?.sqr()? * -50.0 - square.log()?)?;
        let mu = axis.broadcast_div(&radius)?;
        let mut columns = Vec::new();
        for name in &names {
            columns.push(match name.as_str() {
                "s0" => positive.narrow(0, 0, 1)?,
                "stick.lambda_par" => positive.narrow(0, 1, 1)?,
                "stick.fraction" => f.clone(),
                "ball.fraction" => (1.0 - &f)?,
                "stick.mu_x" => mu.narrow(0, 0, 1)?,
                "stick.mu_y" => mu.narrow(0, 1, 1)?,
                "stick.mu_z" => mu.narrow(0, 2, 1)?,
                other => panic!("{other}"),
            });
        }
        let row = Tensor::cat(&columns, 0)?.reshape((1, names.len()))?;
        // Lognormal priors of values are normal in their logarithms: no Jacobian.
        let logs = x.narrow(0, 0, 2)?;
        let z = ((logs - vector(&[0.0, 1.5f64.ln()]))? / &vector(&[1.0, 0.5]))?;
        let prior = ((z.sqr()?.sum_all()? * -0.5)? + shell)?;
        Ok((row, (prior + j2)?))
    };
    let ln_density = |x: &Tensor| {
        let (row, prior) = values(x)?;
        let residual = (lowered.signal(&row)? - &data)?;
        residual.sqr()?.sum_all()? * (-0.5 / (sigma * sigma)) + prior
    };
    check_gradient(&mut graph(6, ln_density), &[0.1, 0.4, -0.2, 0.7, 0.3, 0.9], "ball+stick");

    let options = NutsOptions { tune: 300, draws: 500, ..NutsOptions::default() };
    let start = Start::Around { centre: vec![0.0, 0.5, 0.2, 0.6, 0.0, 0.8], radius: 0.1 };
    let make = |_| GraphDensity::new(6, &Device::Cpu, ln_density);
    let graphs = sample_density(make, &start, &options, 3).unwrap();
    assert!(graphs.warnings().iter().all(|w| !w.contains("R-hat")), "{:?}", graphs.warnings());

    let fitter = voxels::fitter(&lowered, &acquisition);
    let mut sampler = microtome_inference::sample::Sampler::new(fitter, options);
    let fused = sampler.sample(&y, &[], Some(sigma), 3, 0);
    let column = |k: usize| -> Vec<f64> {
        fused.values.iter().skip(k).step_by(fused.width).copied().collect()
    };
    let summary = |v: &[f64]| {
        let chains = microtome_inference::diagnostics::Chains::new(v, 4, v.len() / 4).unwrap();
        microtome_inference::diagnostics::summarize(
            chains,
            &mut microtome_inference::diagnostics::Workspace::new(),
        )
    };
    let unit = |x: &[f64], i: usize| x[3 + i] / (x[3] * x[3] + x[4] * x[4] + x[5] * x[5]).sqrt();
    let squares = |name: &str| column(at(name)).iter().map(|v| v * v).collect::<Vec<_>>();
    let pairs = [
        ("s0", graphs.summary_of(|x| x[0].exp()), column(at("s0"))),
        ("lambda", graphs.summary_of(|x| x[1].exp()), column(at("stick.lambda_par"))),
        ("f", graphs.summary_of(|x| 1.0 / (1.0 + (-x[2]).exp())), column(at("stick.fraction"))),
        ("nxx", graphs.summary_of(|x| unit(x, 0).powi(2)), squares("stick.mu_x")),
        ("nyy", graphs.summary_of(|x| unit(x, 1).powi(2)), squares("stick.mu_y")),
        ("nzz", graphs.summary_of(|x| unit(x, 2).powi(2)), squares("stick.mu_z")),
    ];
    for (name, a, values) in pairs {
        let b = summary(&values);
        let z = (a.mean - b.mean) / a.mcse_mean.hypot(b.mcse_mean);
        println!(
            "{name}: {:.5} against {:.5}, z {z:+.2}, sd ratio {:.3}",
            a.mean,
            b.mean,
            a.sd / b.sd
        );
        assert!(z.abs() < 4.0, "{name}: {a:?} against {b:?}");
        assert!((a.sd / b.sd - 1.0).abs() < 0.15, "{name}: {a:?} against {b:?}");
    }
}

// ---- failures -------------------------------------------------------------

/// Keeps the caught panics of these tests out of the log; all others are reported.
fn hush() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&"a user's mistake") {
                report(info);
            }
        }));
    });
}

fn options() -> NutsOptions {
    NutsOptions { chains: 2, tune: 200, draws: 300, ..NutsOptions::default() }
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Nan,
    Infinite,
    CandleError,
    Panic,
    NanGradient,
}

/// A standard normal in two coordinates that fails where the first is below -1.
fn faulty(fault: Fault) -> impl Fn(&Tensor) -> Result<Tensor> + Sync {
    move |x: &Tensor| {
        let good = (x.sqr()?.sum_all()? * -0.5)?;
        if x.get(0)?.to_scalar::<f64>()? >= -1.0 {
            return Ok(good);
        }
        match fault {
            Fault::Nan => good * f64::NAN,
            Fault::Infinite => good + f64::NEG_INFINITY,
            Fault::CandleError => x.matmul(x),
            Fault::Panic => panic!("a user's mistake"),
            // sqrt(0) is 0 with an infinite slope; inf - inf arrives at x.
            Fault::NanGradient => good + (x.sub(x)?.sqrt()?.sum_all()? * 1e-300)?,
        }
    }
}

#[test]
fn failures_become_divergences_with_a_message() {
    hush();
    let cases = [
        (Fault::Nan, "the log density is NaN"),
        (Fault::Infinite, "the log density is -inf"),
        (Fault::CandleError, "matmul"),
        (Fault::Panic, "a user's mistake"),
        (Fault::NanGradient, "the gradient is NaN in coordinate 0"),
    ];
    for (fault, message) in cases {
        let f = faulty(fault);
        let posterior = sample_density(
            |_| GraphDensity::new(2, &Device::Cpu, &f),
            &Start::default(),
            &options(),
            1,
        )
        .unwrap();
        assert!(posterior.chains.iter().all(|c| c.trace.draws.len() == 300 && !c.trace.failed));
        assert!(posterior.divergences() > 0, "{fault:?}");
        assert!(posterior.coordinate(0).iter().all(|x| *x >= -1.0));
        let first = posterior.chains[0].failures.first.as_ref().unwrap();
        assert!(first.reason.contains(message), "{fault:?}: {}", first.reason);
        assert!(first.position.len() == 2 && first.position[0] < -1.0, "{first:?}");
        let warnings = posterior.warnings().join("\n");
        assert!(warnings.contains(message) && warnings.contains("diverged"), "{warnings}");
        assert!(warnings.contains("evaluations of the density failed"), "{warnings}");
    }
    // The chain by itself, without the front, does not panic either.
    let mut density = graph(2, faulty(Fault::Panic));
    let trace = run_chain(&mut density, &[0.5, 0.5], &options(), &mut PhiloxRng::new(1, 0, 0));
    assert!(!trace.failed && trace.draws.iter().any(|d| d.diverging));
}

#[test]
fn a_density_that_never_works_is_a_clear_error() {
    hush();
    let error = |f: &(dyn Fn(&Tensor) -> Result<Tensor> + Sync), start: &Start| {
        sample_density(|_| GraphDensity::new(3, &Device::Cpu, f), start, &options(), 1)
            .unwrap_err()
            .to_string()
    };
    let everywhere = Start::default();
    let nan = error(&|x| x.sum_all()? * f64::NAN, &everywhere);
    assert!(nan.contains("no start in 100 tries") && nan.contains("is NaN"), "{nan}");
    let shape = error(&|x| x * 2.0, &everywhere);
    assert!(shape.contains("shape [3]; it must be one number"), "{shape}");
    let constant = error(&|x| x.detach().sum_all(), &everywhere);
    assert!(constant.contains("no gradient reaches the coordinates"), "{constant}");
    let panics = error(
        &|_| panic!("a user's mistake"),
        &Start::Around { centre: vec![0.0; 3], radius: 0.0 },
    );
    assert!(
        panics.contains("no start in 1 tries") && panics.contains("a user's mistake"),
        "{panics}"
    );
    let length = error(&|x| x.sum_all(), &Start::Around { centre: vec![0.0; 2], radius: 1.0 });
    assert!(length.contains("2 coordinates, but 3 are needed"), "{length}");
    let points = error(&|x| x.sum_all(), &Start::Each(vec![vec![0.0; 3]]));
    assert!(points.contains("1 points, but 2 are needed"), "{points}");
    let made = sample_density(
        |_| GraphDensity::new(0, &Device::Cpu, |x: &Tensor| x.sum_all()),
        &everywhere,
        &options(),
        1,
    );
    assert!(matches!(made, Err(SampleDensityError::Make { chain: 0, .. })), "{made:?}");
    assert!(
        GraphDensity::with_dtype(2, DType::U8, &Device::Cpu, |x: &Tensor| x.sum_all()).is_err()
    );
    let none = NutsOptions { chains: 0, ..options() };
    let f = |x: &Tensor| x.sum_all();
    let none = sample_density(|_| GraphDensity::new(2, &Device::Cpu, f), &everywhere, &none, 1);
    assert!(matches!(none, Err(SampleDensityError::Options(_))));
}

/// Half of the starts in (-2, 2) are refused, and the chains go on.
#[test]
fn starts_are_drawn_again_where_the_density_fails() {
    let f = |x: &Tensor| {
        let (v, ln_jacobian) = (x.log()?, x.log()?);
        v.sqr()?.sum_all()? * -0.5 - ln_jacobian.sum_all()?
    };
    let mut options = options();
    options.chains = 6;
    let posterior =
        sample_density(|_| GraphDensity::new(2, &Device::Cpu, f), &Start::default(), &options, 2)
            .unwrap();
    assert!(posterior.chains.iter().any(|c| c.rejected_starts > 0));
    assert!(posterior.chains.iter().all(|c| c.start.iter().all(|x| *x > 0.0)));
}

// ---- many coordinates -----------------------------------------------------

const SIDE: usize = 256;

/// An image x with data m of precision w and smoothness λ on a torus,
/// $\ln p = -\tfrac w2|x-m|^2 - \tfrac\lambda2|\nabla x|^2$.
struct Smooth {
    m: Vec<f64>,
    w: f64,
    lambda: f64,
}

impl Term for Smooth {
    fn add(&self, x: &[f64], g: &mut [f64]) -> f64 {
        let mut total = 0.0;
        for i in 0..SIDE {
            let below = (i + 1) % SIDE;
            for j in 0..SIDE {
                let (k, down, right) = (i * SIDE + j, below * SIDE + j, i * SIDE + (j + 1) % SIDE);
                let (r, a, b) = (x[k] - self.m[k], x[down] - x[k], x[right] - x[k]);
                total += self.w * r * r + self.lambda * (a * a + b * b);
                g[k] += self.lambda * (a + b) - self.w * r;
                g[down] -= self.lambda * a;
                g[right] -= self.lambda * b;
            }
        }
        -0.5 * total
    }
}

/// 65,536 coordinates. The precision is $w + \lambda\,\epsilon(k)$ in Fourier space, $\epsilon =
/// 4 - 2\cos k_1 - 2\cos k_2$: with m one wave the mean is that wave shrunk by
/// $w/(w+\lambda\epsilon)$, and each pixel has variance $\overline{1/(w+\lambda\epsilon)}$.
#[test]
fn an_image_of_65536_coordinates() {
    let wave = |i: usize, j: usize| (2.0 * PI * (3 * i + 5 * j) as f64 / SIDE as f64).cos();
    let (w, lambda) = (1.0, 2.0);
    let m: Vec<f64> = (0..SIDE * SIDE).map(|k| 4.0 * wave(k / SIDE, k % SIDE)).collect();
    let precision = |a: usize, b: usize| {
        let c = |k: usize| 2.0 * (2.0 * PI * k as f64 / SIDE as f64).cos();
        w + lambda * (4.0 - c(a) - c(b))
    };
    let shrink = 4.0 * w / precision(3, 5);
    let variance = (0..SIDE * SIDE).map(|k| 1.0 / precision(k / SIDE, k % SIDE)).sum::<f64>()
        / (SIDE * SIDE) as f64;
    let n = SIDE * SIDE;
    let parameters = Parameters::new().vector("x", n, Constraint::Real).unwrap();
    let fused = Fused::new(parameters).with(Smooth { m, w, lambda }).unwrap();
    let options =
        NutsOptions { chains: 1, tune: 60, draws: 60, max_depth: 5, ..NutsOptions::default() };
    let clock = cpu_time::ThreadTime::now();
    let posterior = sample_density(
        |_| GraphDensity::new(n, &Device::Cpu, |x| fused.ln_density(x)),
        &Start::Uniform { radius: 1.0 },
        &options,
        1,
    )
    .unwrap();
    println!("{} gradients in {:.1} CPU s", posterior.gradients(), clock.elapsed().as_secs_f64());
    assert_eq!(posterior.divergences(), 0);
    // The amplitude of the wave and the mean square about the mean, over all pixels.
    let amplitude = posterior.summary_of(|x| {
        x.iter().enumerate().map(|(k, v)| v * wave(k / SIDE, k % SIDE)).sum::<f64>() * 2.0
            / n as f64
    });
    let square = posterior.summary_of(|x| {
        let about = |k: usize| shrink * wave(k / SIDE, k % SIDE);
        x.iter().enumerate().map(|(k, v)| (v - about(k)).powi(2)).sum::<f64>() / n as f64
    });
    // Standard deviations of one draw: sqrt(2/(n q)) of the amplitude and, of the mean
    // square, sqrt(2 mean(1/q²)/n); sixty draws that follow tuning repeat each other, so
    // five of a single draw.
    println!(
        "amplitude {:.4} of {shrink:.4}, square {:.5} of {variance:.5}",
        amplitude.mean, square.mean
    );
    assert!((amplitude.mean - shrink).abs() < 5.0 * (2.0 / (n as f64 * precision(3, 5))).sqrt());
    let spread = (0..n).map(|k| precision(k / SIDE, k % SIDE).powi(-2)).sum::<f64>() / n as f64;
    assert!((square.mean - variance).abs() < 5.0 * (2.0 * spread / n as f64).sqrt());
}

/// Each evaluation sees its own coordinates, not those of the one before.
#[test]
fn positions_of_the_graph_are_those_it_is_given() {
    let mut rng = PhiloxRng::new(3, 0, 0);
    let mut sum = graph(100, |x: &Tensor| x.sum_all());
    let mut g = [0.0; 100];
    for _ in 0..3 {
        let x: Vec<f64> = (0..100).map(|_| rng.random()).collect();
        let value = sum.ln_density(&x, &mut g);
        assert!((value - x.iter().sum::<f64>()).abs() < 1e-12);
        assert_eq!(g, [1.0; 100]);
    }
}
