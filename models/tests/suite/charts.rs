//! Priors of every form integrate to one through the chart of their parameter:
//! $\int p(x(z))\,|\partial x/\partial z|\,dz = 1$ by the trapezoidal rule, which converges
//! geometrically for these integrands.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use microtome_models::{
    Acquisition, Chart, Evaluator, FreeKind, Lowered, Model, ModelSpec, Posterior, Sigma,
};
use std::sync::Arc;

fn model(toml: &str) -> Model {
    Model::new(ModelSpec::from_toml(toml).unwrap()).unwrap()
}

/// The chart of a model about values with all axes along (0.48, -0.6, 0.64).
fn chart(model: &Model) -> Chart {
    let mut centre = vec![0.5; model.values()];
    for free in model.free().iter().filter(|f| f.kind == FreeKind::Axis) {
        centre[free.at..free.at + 3].copy_from_slice(&[0.48, -0.6, 0.64]);
    }
    let support = |at: usize| {
        let free = model.free().iter().find(|f| f.at == at).unwrap();
        free.prior.as_ref().map_or(free.range, |p| p.support())
    };
    Chart::new(model, &centre, support, None)
}

/// $\ln p(x)$ of everything that is free.
fn ln_prior(model: &Model, x: &[f64]) -> f64 {
    let of = |f: &microtome_models::Free| match &f.kind {
        FreeKind::Scalar { period: Some(period) } => -period.ln(),
        FreeKind::Scalar { .. } | FreeKind::Scale => {
            f.prior.as_ref().unwrap().ln_density(x[f.at]).0
        }
        FreeKind::Axis => -std::f64::consts::TAU.ln(),
        FreeKind::Fractions { total, concentration } => {
            use statrs::function::gamma::ln_gamma;
            let sum: f64 = concentration.iter().sum();
            ln_gamma(sum)
                + concentration
                    .iter()
                    .enumerate()
                    .map(|(i, a)| (a - 1.0) * (x[f.at + i] / total).ln() - ln_gamma(*a))
                    .sum::<f64>()
        }
    };
    model.free().iter().map(of).sum()
}

/// The integral over all coordinates, each from -reach to reach.
fn mass(model: &Model, reach: f64, h: f64) -> f64 {
    let chart = chart(model);
    let n = (2.0 * reach / h).round() as usize;
    let mut x = vec![0.0; chart.values()];
    let mut z = vec![0.0; chart.dim()];
    let mut total = 0.0;
    for code in 0..n.pow(chart.dim() as u32) {
        let mut rest = code;
        for z in &mut z {
            *z = -reach + ((rest % n) as f64 + 0.5) * h;
            rest /= n;
        }
        let ln_jacobian = chart.to_values(&z, &mut x);
        let density = (ln_prior(model, &x) + ln_jacobian).exp();
        // Past the range of floating point a value sits on the edge of its support.
        total += if density.is_finite() { density } else { 0.0 };
    }
    total * h.powi(chart.dim() as i32)
}

const BALL: &str = "[[compartment]]\nkind = \"ball\"\n[link]\ns0 = { fixed = 1.0 }\n";

#[test]
fn priors_of_numbers_integrate_to_one() {
    for (prior, range) in [
        ("", ""),
        ("{ normal = [1.7, 0.3] }", ""),
        ("{ normal = [0.1, 0.5] }", ""),
        ("{ normal = [0.1, 0.5] }", "[0.2, 1.0]"),
        ("{ lognormal = [0.2, 0.5] }", ""),
        ("{ lognormal = [0.2, 0.5] }", "[0.5, 2.0]"),
        ("{ uniform = [0.5, 2.5] }", ""),
        ("{ uniform = [0.5, 2.5] }", "[1.0, 9.0]"),
        ("{ half_normal = 0.4 }", ""),
        ("{ half_normal = 0.4 }", "[0.3, inf]"),
    ] {
        let mut toml = BALL.to_string();
        if !prior.is_empty() {
            toml += &format!("[prior]\n\"ball.lambda_iso\" = {prior}\n");
        }
        if !range.is_empty() {
            toml += &format!("[range]\n\"ball.lambda_iso\" = {range}\n");
        }
        let total = mass(&model(&toml), 60.0, 0.01);
        assert!((total - 1.0).abs() < 1e-9, "{prior} {range}: {total}");
    }
}

#[test]
fn supports_are_those_of_the_prior_and_the_range() {
    let support = |rest: &str| {
        let model = model(&format!("{BALL}{rest}"));
        model.free()[0].prior.as_ref().unwrap().support()
    };
    let inf = f64::INFINITY;
    let key = "\"ball.lambda_iso\"";
    // The default range does not cut a prior of the user; the physical domain does.
    assert_eq!(support(""), [0.05, 4.0]);
    assert_eq!(support(&format!("[prior]\n{key} = {{ normal = [1.7, 9.0] }}")), [0.0, inf]);
    assert_eq!(support(&format!("[prior]\n{key} = {{ uniform = [-1.0, 7.0] }}")), [0.0, 7.0]);
    let both = "{ normal = [1.7, 9.0] }\n[range]\n\"ball.lambda_iso\" = [0.5, 6.0]";
    assert_eq!(support(&format!("[prior]\n{key} = {both}")), [0.5, 6.0]);
    assert_eq!(support("[range]\n\"ball.lambda_iso\" = [0.5, 6.0]"), [0.5, 6.0]);
}

#[test]
fn priors_of_scales_integrate_to_one() {
    let toml = "[[compartment]]\nkind = \"ball\"\n[link]\n\"ball.lambda_iso\" = { fixed = 1.0 }\n";
    let spec = ModelSpec::from_toml(toml).unwrap().with_scale_priors(300.0, false);
    let total = mass(&Model::new(spec).unwrap(), 60.0, 0.01);
    assert!((total - 1.0).abs() < 1e-9, "{total}");
}

#[test]
fn axes_and_angles_integrate_to_one() {
    let axis = "[[compartment]]\nkind = \"stick\"\n[link]\ns0 = { fixed = 1.0 }\n\"stick.lambda_par\" = { fixed = 1.7 }\n";
    let total = mass(&model(axis), 10.0, 0.05);
    assert!((total - 1.0).abs() < 1e-9, "{total}");
    // The angle is a Cauchy number in its chart: z = sinh t makes its tails thin.
    let angle = "[[compartment]]\nkind = \"tensor\"\n[link]\ns0 = { fixed = 1.0 }\n\"tensor.mu\" = { fixed = [0.0, 0.0, 1.0] }\n\
                 \"tensor.lambda_1\" = { fixed = 2.0 }\n\"tensor.lambda_2\" = { fixed = 1.0 }\n\"tensor.lambda_3\" = { fixed = 0.5 }\n";
    let model = model(angle);
    let chart = chart(&model);
    assert_eq!((chart.dim(), model.value_names()), (1, vec!["tensor.psi"]));
    let mut x = [0.0];
    let h = 0.01;
    let total: f64 = (-4000..4000)
        .map(|i| {
            let t = (f64::from(i) + 0.5) * h;
            let ln_jacobian = chart.to_values(&[t.sinh()], &mut x);
            assert!((x[0] - 0.5).abs() <= 0.5 * std::f64::consts::PI + 1e-12);
            (ln_prior(&model, &x) + ln_jacobian).exp() * t.cosh() * h
        })
        .sum();
    assert!((total - 1.0).abs() < 1e-9, "{total}");
}

#[test]
fn dirichlet_densities_integrate_to_one() {
    let simplex = |n: usize, prior: &str| {
        let kinds = ["dot", "ball", "ball", "ball"];
        let mut toml: String =
            kinds[..n].iter().map(|k| format!("[[compartment]]\nkind = \"{k}\"\n")).collect();
        toml += "[link]\ns0 = { fixed = 1.0 }\n";
        for name in &["ball", "ball_2", "ball_3"][..n - 1] {
            toml += &format!("\"{name}.lambda_iso\" = {{ fixed = 1.0 }}\n");
        }
        if !prior.is_empty() {
            toml += &format!("[prior]\nfractions = {{ dirichlet = {prior} }}\n");
        }
        model(&toml)
    };
    for (n, prior, reach, h) in [
        (2, "", 40.0, 0.1),
        (2, "[2.0, 3.0]", 40.0, 0.1),
        // Concentration 0.1 of a relevance prior: tails of e^(-0.1 |z|).
        (2, "[1.0, 0.1]", 300.0, 0.1),
        (3, "", 40.0, 0.5),
        (3, "[1.0, 0.1, 1.0]", 300.0, 0.5),
        (3, "[2.0, 0.5, 1.5]", 60.0, 0.5),
        (4, "", 40.0, 0.8),
        (4, "[1.5, 2.0, 0.8, 1.0]", 40.0, 0.8),
    ] {
        let total = mass(&simplex(n, prior), reach, h);
        assert!((total - 1.0).abs() < 1e-6, "{n} {prior}: {total}");
    }
}

/// The posterior holds its prior with all constants, also where a fixed fraction leaves less
/// than 1 to the simplex: the evidence in the chart is that of an integral over the fraction.
#[test]
fn evidence_is_that_of_the_parameters() {
    let model = Arc::new(model(
        "[[compartment]]\nkind = \"ball\"\n[[compartment]]\nkind = \"dot\"\n[[compartment]]\nname = \"rest\"\nkind = \"ball\"\n\
         [link]\ns0 = { fixed = 1.0 }\n\"ball.lambda_iso\" = { fixed = 1.0 }\n\"rest.lambda_iso\" = { fixed = 3.0 }\n\
         \"rest.fraction\" = { fixed = 0.25 }\n[prior]\nfractions = { dirichlet = [2.0, 3.0] }\n",
    ));
    let acquisition = Acquisition::from_b(&[1.0], &[[1.0, 0.0, 0.0]], None, None).unwrap();
    let mut evaluator = Evaluator::new(&Lowered::new(model, &acquisition).unwrap());
    let (y, sigma) = (0.6, 0.05);
    let mut posterior =
        Posterior::new(&mut evaluator, &[y], Sigma::Known(sigma), 1.0, &[0.3, 0.45]).unwrap();
    let mut gradient = [0.0];
    let h = 0.05;
    let found: f64 = (-800..800)
        .map(|i| posterior.ln_density(&[(f64::from(i) + 0.5) * h], &mut gradient).exp() * h)
        .sum();
    // u = f/0.75 has the density 12 u (1 - u)².
    let n = 100_000;
    let expected: f64 = (0..n)
        .map(|i| {
            let u = (f64::from(i) + 0.5) / f64::from(n);
            let s = 0.75 * (u * (-1.0_f64).exp() + 1.0 - u) + 0.25 * (-3.0_f64).exp();
            let z = (y - s) / sigma;
            12.0 * u * (1.0 - u).powi(2) * (-0.5 * z * z).exp()
                / (sigma * std::f64::consts::TAU.sqrt())
                / f64::from(n)
        })
        .sum();
    assert!((found / expected - 1.0).abs() < 1e-7, "{found} {expected}");
}
