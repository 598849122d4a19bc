//! Pathwise derivatives of walks: against differences with common random numbers, against
//! differences of exact signals, and where there are none.
#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_models::substrate::{
    Parameter, Sequence, Signals, Simulation, SubstrateSpec, exact_signals,
};

/// A shape with lengths times `scale`.
fn substrate(kind: &str, scale: f64, diffusivity: f64) -> String {
    let shape = match kind {
        "free" => String::new(),
        "planes" => format!("separation_um = {:?}\naxis = [1, 0, 0]\n", 6.0 * scale),
        "cylinder" => format!("radius_um = {:?}\naxis = [0, 1, 0]\n", 3.0 * scale),
        "sphere" => format!("radius_um = {:?}\n", 4.0 * scale),
        "capped_cylinder" => {
            format!("radius_um = {:?}\nlength_um = {:?}\n", 2.5 * scale, 7.0 * scale)
        }
        _ => {
            let axes = [2.0, 3.0, 5.0].map(|a| a * scale);
            format!("semi_axes_um = {axes:?}\naxis = [1, 1, 1]\n")
        }
    };
    format!(
        "[substrate]\nkind = \"{kind}\"\n{shape}[intra]\ndiffusivity_um2_per_ms = {diffusivity:?}\n\
         t2_ms = 70\n"
    )
}

/// A pulse pair across the walls, and one turn and a half of an oscillation aslant.
fn sequence(amplitude: f64) -> Sequence {
    let times = 120;
    let mut samples = vec![0.0; 6 * times];
    for k in 0..times {
        let t = (k as f64 + 0.5) / times as f64;
        let pulse = f64::from(u8::from(t < 0.25)) - f64::from(u8::from(t > 0.75));
        let wave = (3.0 * std::f64::consts::TAU * t).sin();
        samples[3 * k] = 0.12 * amplitude * pulse;
        for (a, part) in [0.8, 0.36, 0.48].into_iter().enumerate() {
            samples[3 * times + 3 * k + a] = 0.3 * amplitude * part * wave;
        }
    }
    Sequence::from_waveforms(&samples, times, 0.25).unwrap()
}

fn ready(toml: &str, sequence: &Sequence, step_ms: Option<f64>, walkers: u64) -> Simulation {
    let substrate = SubstrateSpec::from_toml(toml).unwrap().build().unwrap();
    Simulation::new(substrate, sequence, step_ms, walkers, 11).unwrap()
}

fn parameters(kind: &str) -> Vec<Parameter> {
    Parameter::ALL.into_iter().filter(|p| kind != "free" || *p != Parameter::Radius).collect()
}

/// The length that `radius` is along.
fn length(kind: &str) -> f64 {
    match kind {
        "planes" => 6.0,
        "cylinder" => 3.0,
        "sphere" => 4.0,
        "capped_cylinder" => 2.5,
        _ => 2.0,
    }
}

/// Substrate and gradients with one parameter moved by a relative step, and its value.
fn moved(kind: &str, parameter: Parameter, by: f64) -> (String, Sequence, f64) {
    let (d, one) = (1.8, 1.0 + by);
    match parameter {
        Parameter::Radius => (substrate(kind, one, d), sequence(1.0), length(kind)),
        Parameter::Diffusivity => (substrate(kind, 1.0, d * one), sequence(1.0), d),
        Parameter::Amplitude => (substrate(kind, 1.0, d), sequence(one), 1.0),
    }
}

const KINDS: [&str; 6] = ["free", "planes", "cylinder", "sphere", "capped_cylinder", "ellipsoid"];

/// The same walkers at parameters 4e-8 apart: the differences of their signals are the
/// derivatives to a twentieth of a standard error. (Paths are continuous with kinks where a step
/// begins to hit; at distances of 1e-6 a hundredth of the walkers has one in between, and the
/// differences are off by up to 0.07 standard errors; at 1e-9 by rounding.)
#[test]
fn slopes_are_differences_of_the_same_walkers() {
    let (walkers, step, by) = (3000, 0.13, 2e-8);
    for kind in KINDS {
        let simulation = ready(&substrate(kind, 1.0, 1.8), &sequence(1.0), Some(step), walkers);
        let all = parameters(kind);
        let found = simulation.with_derivatives(&all).unwrap().run(|_| true);
        assert_eq!((found.escaped, found.stopped), (0, 0));
        for (p, parameter) in all.into_iter().enumerate() {
            let at = |by: f64| -> (Signals, f64) {
                let (toml, sequence, value) = moved(kind, parameter, by);
                (ready(&toml, &sequence, Some(step), walkers).run(|_| true), value)
            };
            let ((more, value), (less, _)) = (at(by), at(-by));
            for ((row, a), b) in found.rows.iter().zip(&more.rows).zip(&less.rows) {
                let slope = row.derivatives[p];
                let real = (a.signal.real - b.signal.real) / (2.0 * by * value);
                let imaginary = (a.signal.imaginary - b.signal.imaginary) / (2.0 * by * value);
                let name = format!("{kind} {} of {}", parameter.name(), row.measurement);
                let near = |found: f64, wanted: f64, se: f64| {
                    assert!((found - wanted).abs() < 0.05 * se, "{name}: {found} {wanted} {se}");
                };
                near(slope.real, real, slope.se_real);
                near(slope.imaginary, imaginary, slope.se_imaginary);
            }
        }
    }
}

/// At the automatic step the derivatives are those of the exact signals within 3.5 standard
/// errors; the sum of squares of all scores is within 0.1 % to 99.9 % of its chi-square.
#[test]
fn slopes_are_those_of_exact_signals() {
    let by = 1e-3;
    let (mut squares, mut n) = (0.0, 0.0);
    for kind in ["free", "planes", "cylinder", "sphere", "capped_cylinder"] {
        let simulation = ready(&substrate(kind, 1.0, 1.8), &sequence(1.0), None, 20_000);
        let all = parameters(kind);
        let found = simulation.with_derivatives(&all).unwrap().run(|_| true);
        for (p, parameter) in all.into_iter().enumerate() {
            let exact = |by: f64| {
                let (toml, sequence, value) = moved(kind, parameter, by);
                let substrate = SubstrateSpec::from_toml(&toml).unwrap().build().unwrap();
                (exact_signals(&substrate, &sequence).unwrap(), value)
            };
            let ((more, value), (less, _)) = (exact(by), exact(-by));
            for m in [0, 1] {
                let slope = found.rows[2 * m].derivatives[p];
                let of = |s: &Signals| s.rows[2 * m].signal.real;
                let wanted = (of(&more) - of(&less)) / (2.0 * by * value);
                let z = (slope.real - wanted) / slope.se_real;
                let name = format!("{kind} {} of {m}", parameter.name());
                assert!(z.abs() < 3.5, "{name}: {} +- {}, {wanted}", slope.real, slope.se_real);
                // A derivative that is worth having.
                assert!(slope.se_real * value < 0.05, "{name}: {}", slope.se_real * value);
                squares += z * z;
                n += 1.0;
            }
        }
    }
    // Quantiles by Wilson & Hilferty 1931.
    let quantile = |z: f64| n * (1.0 - 2.0 / (9.0 * n) + z * f64::sqrt(2.0 / (9.0 * n))).powi(3);
    assert!(squares > quantile(-3.09) && squares < quantile(3.09), "{squares} of {n}");
}

/// Signals with derivatives are those without, and both go on from where they stopped.
#[test]
fn signals_stay_and_walks_go_on() {
    for kind in KINDS {
        let walkers = 40_000;
        let one = ready(&substrate(kind, 1.0, 1.8), &sequence(1.0), Some(2.0), walkers);
        let plain = one.run(|_| true);
        let with = one.with_derivatives(&parameters(kind)).unwrap();
        let whole = with.run(|_| true);
        for (a, b) in plain.rows.iter().zip(&whole.rows) {
            assert_eq!(a.signal, b.signal, "{kind}");
        }
        let mut kept = None;
        with.walk_from(None, 0.0, |_, tally| {
            kept = microtome_kernels::walk::Tally::from_words(&tally.words());
            false
        });
        assert_eq!(kept.as_ref().unwrap().all_walkers(), 32_768);
        let rest = with.walk_from(kept, 0.0, |_, _| true);
        assert_eq!(with.signals(&rest), whole, "{kind}");
    }
}

#[test]
fn jumps_are_refused() {
    let says = |text: &str, parameters: &[Parameter], word: &str| {
        let substrate = SubstrateSpec::from_toml(text).unwrap().build().unwrap();
        let one = Simulation::new(substrate, &sequence(1.0), None, 10, 0).unwrap();
        let error = one.with_derivatives(parameters).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    let all = Parameter::ALL;
    says(&substrate("free", 1.0, 1.0), &all, "no radius");
    let relaxing = substrate("sphere", 1.0, 1.0) + "surface_relaxivity_um_per_ms = 0.01\n";
    says(&relaxing, &all, "relaxivity");
    let membrane = "[[membrane]]\nposition_um = 0.5\npermeability_um_per_ms = 0.01\n";
    says(&(substrate("planes", 1.0, 1.0) + membrane), &all, "membranes");
    let cell = substrate("sphere", 1.0, 1.0).replace("[intra]", "cell_um = 9.0\n[intra]");
    says(&cell, &[Parameter::Amplitude], "cell_um");
}
