//! The device text, executed by the host's C compiler, against the Rust loops, and
//! its shape as Metal and as CUDA, judged by clang. Prints a line that begins with
//! `skipped` where a compiler is missing.
//!
//! Inputs are numbers that f32 holds, so that the reference, the f64 Rust loops,
//! sees what the float build sees. Errors are relative: of a signal to itself, of a
//! sum to the sum of the magnitudes of its terms.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod text;

use microtome_kernels::Plan;
use microtome_kernels::family::{isotropic, quadratic, tensor};
use microtome_kernels::philox::{Philox, philox4x32_10};
use microtome_kernels::text::{
    Backend, Layout, PhiloxArguments, SignalArguments, Text, shell_block, shell_of, source,
};
use text::Buffer::{Real, RealOut, U32, U32Out};
use text::{Program, Random, compile, device_shape, find, layout_checks};

const SETS: usize = 50;
/// b of the shells, ms/µm², and their measurements: b = 0, one alone, a whole
/// number of blocks, an empty shell.
const SHELLS: [(f64, usize); 6] = [(0.0, 5), (0.25, 1), (1.0, 30), (2.0, 32), (2.5, 0), (3.0, 45)];

/// The nearest number that f32 holds.
fn f32_value(x: f64) -> f64 {
    f64::from(x as f32)
}

/// What every kernel of the signal text needs.
struct Problem {
    plan: Plan,
    arguments: [u32; 3],
    value: Vec<f64>,
    a: Vec<f64>,
    c: Vec<f64>,
    mu: Vec<f64>,
    d: Vec<f64>,
    /// `[set, slot]`, zero in padding.
    weight: Vec<f64>,
    shell_of: Vec<u32>,
    shell_block: Vec<u32>,
    direction: Vec<f64>,
    weighting: Vec<f64>,
}

impl Problem {
    fn new() -> Self {
        let mut random = Random(11);
        let mut measured: Vec<usize> =
            SHELLS.iter().enumerate().flat_map(|(s, &(_, n))| vec![s; n]).collect();
        for i in (1..measured.len()).rev() {
            measured.swap(i, random.uniform(0.0, i as f64 + 1.0) as usize);
        }
        let b: Vec<f64> = measured.iter().map(|&s| SHELLS[s].0).collect();
        // Nine bits a component, so that f32 holds b g gᵀ.
        let directions: Vec<[f64; 3]> = b
            .iter()
            .map(|&b| {
                let g = random.direction();
                if b == 0.0 { [0.0; 3] } else { g.map(|x| (x * 256.0).round() / 256.0) }
            })
            .collect();
        let plan = Plan::new(SHELLS.len(), &measured, &directions, &b);
        assert!(plan.slots() > plan.measurements());
        let direction = plan.direction().concat();
        let weighting = plan.weighting().concat();
        assert!(direction.iter().chain(&weighting).all(|&x| x == f32_value(x)));

        let [mut value, mut a, mut c, mut mu, mut d, mut weight] = [const { Vec::new() }; 6];
        let mut slots = vec![0.0; plan.slots()];
        for set in 0..SETS {
            let parallel = random.uniform(0.5, 3.0);
            let perpendicular = random.uniform(0.0, parallel);
            let (parallel, perpendicular) = match set {
                0 => (0.0, 0.0),          // no attenuation
                1 => (parallel, 0.0),     // stick
                2..=6 => (0.4, parallel), // oblate: c < 0
                7 => (1.0, 1.0),          // isotropic: c = 0
                8 => (300.0, 300.0),      // a signal that f32 can't hold
                9 => (-0.2, 0.5),         // grows along the axis
                _ => (parallel, perpendicular),
            };
            for (s, (b, _)) in SHELLS.iter().enumerate() {
                value.push(random.uniform(0.0, 1.0) / (1.0 + s as f64));
                a.push(b * perpendicular);
                c.push(b * (parallel - perpendicular));
            }
            let axis = if set == 10 { [0.0, 0.0, 1.0] } else { random.direction() };
            mu.extend(axis);
            let tilt = random.direction();
            let pairs = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)];
            let extra = if set < 9 { 0.0 } else { random.uniform(0.0, 0.3) };
            d.extend(pairs.map(|(j, k)| {
                let identity = if j == k { perpendicular } else { 0.0 };
                identity
                    + (parallel - perpendicular) * axis[j] * axis[k]
                    + extra * tilt[j] * tilt[k]
            }));
            let w: Vec<f64> =
                b.iter().map(|_| if set == 11 { 0.0 } else { random.uniform(-1.0, 1.0) }).collect();
            plan.scatter(&w, &mut slots);
            weight.extend(&slots);
        }
        for list in [&mut value, &mut a, &mut c, &mut mu, &mut d, &mut weight] {
            list.iter_mut().for_each(|x| *x = f32_value(*x));
        }
        Self {
            arguments: SignalArguments::for_plan(&plan, SETS).unwrap().words(),
            shell_of: shell_of(&plan),
            shell_block: shell_block(&plan),
            plan,
            value,
            a,
            c,
            mu,
            d,
            weight,
            direction,
            weighting,
        }
    }

    /// Every output of the text: the three signals, then isotropic sums, quadratic
    /// sums and axis, tensor sums. `grid` 0 stands for one work item an item.
    fn run(&self, program: &Program, grid: u32) -> [Vec<f64>; 7] {
        let (slots, shells) = (self.plan.slots(), self.plan.shells());
        let run = |kernel: &str, items: usize, buffers: &[text::Buffer<'_>]| {
            let grid = if grid == 0 { items as u32 } else { grid };
            program.run(kernel, grid, &self.arguments, buffers)
        };
        let [value, a, c, mu, d, weight, direction, weighting] = [
            &self.value,
            &self.a,
            &self.c,
            &self.mu,
            &self.d,
            &self.weight,
            &self.direction,
            &self.weighting,
        ]
        .map(|v| Real(v));
        let (of, block) = (U32(&self.shell_of), U32(&self.shell_block));
        let (n, m) = (SETS * slots, SETS * shells);
        let mut sums = run(
            "quadratic_pullback",
            m,
            &[a, c, mu, direction, weight, block, RealOut(2 * m), RealOut(3 * m)],
        );
        let parts = sums.split_off(2 * m);
        [
            run("isotropic_signal", n, &[value, of, RealOut(n)]),
            run("quadratic_signal", n, &[a, c, mu, direction, of, RealOut(n)]),
            run("tensor_signal", n, &[d, weighting, RealOut(n)]),
            run("isotropic_pullback", m, &[weight, block, RealOut(m)]),
            sums,
            run("quadratic_axis", SETS, &[Real(&parts), RealOut(3 * SETS)]),
            run("tensor_pullback", SETS, &[d, weighting, weight, RealOut(7 * SETS)]),
        ]
    }

    /// The numbers of [`Problem::run`] from the Rust loops, each with the magnitude that its
    /// error is relative to; signals as `[set, measurement]`.
    fn reference(&self) -> [Vec<[f64; 2]>; 7] {
        let (plan, n) = (&self.plan, self.plan.measurements());
        let (slots, shells) = (plan.slots(), plan.shells());
        let mut signals = [const { Vec::new() }; 3].map(|_: Vec<f64>| vec![0.0; SETS * n]);
        isotropic::signal_batch(plan, SETS, &self.value, &mut signals[0]);
        quadratic::signal_batch(plan, SETS, &self.a, &self.c, &self.mu, &mut signals[1]);
        tensor::signal_batch(plan, SETS, &self.d, &mut signals[2]);
        let [isotropic, quadratic, tensor] =
            signals.map(|s| s.into_iter().map(|x| [x, x.abs()]).collect());

        let [mut value, mut sums, mut axis, mut full] = [const { Vec::new() }; 4];
        let (mut t, mut e, mut total) = (vec![0.0; slots], vec![0.0; slots], vec![0.0; slots]);
        for set in 0..SETS {
            let weight = &self.weight[set * slots..(set + 1) * slots];
            let size: Vec<f64> = weight.iter().map(|w| w.abs()).collect();
            let (mut sum, mut sum_size) = (vec![0.0; shells], vec![0.0; shells]);
            isotropic::pullback(plan, weight, &mut sum);
            isotropic::pullback(plan, &size, &mut sum_size);
            value.extend(sum.iter().zip(sum_size).map(|(x, s)| [*x, s]));

            let k = quadratic::Coefficients {
                a: &self.a[set * shells..(set + 1) * shells],
                c: &self.c[set * shells..(set + 1) * shells],
                mu: std::array::from_fn(|i| self.mu[3 * set + i]),
            };
            quadratic::signal(plan, k, 1.0, &mut t, &mut e, &mut total);
            let (mut sum, mut sum_size) = (vec![0.0; 2 * shells], vec![0.0; 2 * shells]);
            let gradient = quadratic::pullback(plan, k.c, &t, &e, weight, &mut sum);
            quadratic::pullback(plan, k.c, &t, &e, &size, &mut sum_size);
            sums.extend(sum.iter().zip(sum_size).map(|(x, s)| [*x, s]));
            for (x, g) in gradient.iter().zip(plan.direction()) {
                let terms = (0..slots).map(|i| {
                    (2.0 * k.c[self.shell_of[i] as usize] * size[i] * e[i] * t[i] * g[i]).abs()
                });
                axis.push([*x, terms.sum()]);
            }

            let d: [f64; 6] = std::array::from_fn(|i| self.d[6 * set + i]);
            tensor::signal(plan, &d, 1.0, &mut e, &mut total);
            let (zeroth, first) = tensor::pullback(plan, &e, weight);
            let (zeroth_size, _) = tensor::pullback(plan, &e, &size);
            full.push([zeroth, zeroth_size]);
            for (x, b) in first.iter().zip(plan.weighting()) {
                full.push([*x, (0..slots).map(|i| (size[i] * e[i] * b[i]).abs()).sum()]);
            }
        }
        [isotropic, quadratic, tensor, value, sums, axis, full]
    }
}

const NAMES: [&str; 7] = [
    "isotropic signal",
    "quadratic signal",
    "tensor signal",
    "isotropic pullback",
    "quadratic pullback: sums",
    "quadratic pullback: axis",
    "tensor pullback",
];

/// The largest error, in units of the magnitudes; numbers below `smallest` count as 0.
fn worst(got: &[f64], reference: &[[f64; 2]], smallest: f64) -> f64 {
    assert_eq!(got.len(), reference.len());
    let error = |(x, [y, size]): (&f64, &[f64; 2])| {
        assert!(x.is_finite(), "{x}, not {y}");
        let difference = (x - y).abs();
        if difference <= smallest { 0.0 } else { difference / size }
    };
    got.iter().zip(reference).map(error).fold(0.0, f64::max)
}

fn parity(double: bool, tolerance: f64, smallest: f64) {
    let Some(cc) = find("CC", "cc", "C compiler") else { return };
    let problem = Problem::new();
    let program = Program::new(&cc, Text::Signal, double);
    let outputs = problem.run(&program, 0);
    let n = problem.plan.measurements();
    for (k, (got, reference)) in outputs.iter().zip(problem.reference()).enumerate() {
        // Signals: every slot was written; those of measurements are compared.
        assert!(got.iter().all(|x| x.is_finite()), "{}", NAMES[k]);
        let mut got = got.clone();
        if k < 3 {
            let mut gathered = vec![0.0; SETS * n];
            for (row, slots) in gathered.chunks_mut(n).zip(got.chunks(problem.plan.slots())) {
                problem.plan.gather(slots, row);
            }
            got = gathered;
        }
        let error = worst(&got, &reference, smallest);
        eprintln!("{}: largest relative error {error:.1e}", NAMES[k]);
        assert!(error <= tolerance, "{}: {error:e}", NAMES[k]);
    }
}

#[test]
fn double_text_equals_the_rust_loops() {
    parity(true, 1e-13, f64::MIN_POSITIVE);
}

#[test]
fn float_text_equals_the_rust_loops() {
    parity(false, 2e-6, f64::from(f32::MIN_POSITIVE));
}

#[test]
fn results_do_not_depend_on_the_grid() {
    let Some(cc) = find("CC", "cc", "C compiler") else { return };
    let problem = Problem::new();
    let program = Program::new(&cc, Text::Signal, false);
    let outputs = problem.run(&program, 0);
    for grid in [1, 7, 100_000] {
        assert_eq!(problem.run(&program, grid), outputs);
    }
}

#[test]
fn philox_text_gives_the_published_words() {
    let Some(cc) = find("CC", "cc", "C compiler") else { return };
    let program = Program::new(&cc, Text::Philox, false);
    let run = |arguments: PhiloxArguments, items: usize, grid| {
        program.run_u32("philox_words", grid, &arguments.words(), &[U32Out(4 * items)])
    };
    // The file `kat_vectors` of Random123, lines `philox4x32 10`.
    let ones = PhiloxArguments::new(u64::MAX, u32::MAX, u32::MAX, (1 << 56) - 1, 255, 1);
    let pi = PhiloxArguments::new(
        0x299f_31d0_a409_3822,
        0x243f_6a88,
        0x85a3_08d3,
        0x03_7073_1319_8a2e,
        0x44,
        1,
    );
    let cases = [
        (
            PhiloxArguments::new(0, 0, 0, 0, 0, 1),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
        ),
        (ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
    ];
    for (arguments, words) in cases {
        assert_eq!(run(arguments.unwrap(), 1, 1), words);
    }
    // A batch across the 32-bit boundary of the global item equals the Rust function.
    let (seed, first, items) = (0x0123_4567_89ab_cdef, (7 << 32) - 20, 40);
    let arguments = PhiloxArguments::new(seed, 5, 6, first, 9, items).unwrap();
    let expected: Vec<u32> =
        (0..items as u64).flat_map(|i| Philox::new(seed).block(5, 6, first + i, 9)).collect();
    for grid in [1, 7, 64] {
        assert_eq!(run(arguments, items, grid), expected);
    }
    assert_eq!(
        expected[..4],
        philox4x32_10([0x89ab_cdef, 0x0123_4567], [5, 6, u32::MAX - 19, 9 | 6 << 8])
    );
}

#[test]
fn a_wrong_layout_does_not_compile() {
    let Some(cc) = find("CC", "cc", "C compiler") else { return };
    let folder = tempfile::tempdir().unwrap();
    let accepts = |layout: &Layout| {
        let c = source(Backend::Host, Text::Signal) + &layout_checks(layout);
        compile(&cc, &folder, &c, &[], None).status.success()
    };
    let right = SignalArguments::LAYOUT;
    assert!(accepts(&right));
    assert!(!accepts(&Layout { size: 16, ..right }));
    assert!(!accepts(&Layout { fields: &[("shells", 8), ("slots", 4)], ..right }));
}

/// Compiles every text as `backend` and checks that the faults, each a function of
/// a text that breaks a rule, are refused.
fn shape(backend: Backend, faults: &[&str]) {
    let Some(clang) = find("CLANG", "clang", "clang") else { return };
    for text in Text::ALL {
        let output = device_shape(&clang, backend, &text::checked_source(backend, text));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let joined = source(backend, Text::Signal);
    for fault in faults {
        let output = device_shape(&clang, backend, &format!("{joined}\n{fault}\n"));
        eprintln!("REFUSED {}", String::from_utf8_lossy(&output.stderr).lines().find(|l| l.contains("error")).unwrap());
        assert!(!output.status.success(), "accepted: {fault}");
    }
    let wrong = Layout { size: 16, ..SignalArguments::LAYOUT };
    let output = device_shape(&clang, backend, &(joined + &layout_checks(&wrong)));
    assert!(!output.status.success(), "accepted: a wrong size");
}

/// Uses a head of a function that takes `argument` in a kernel that calls it.
macro_rules! fault {
    ($argument:literal, $body:literal) => {
        concat!(
            "DEVICE_FN REAL fault_body(", $argument, " x) { return ", $body, "; }\n",
            "KERNEL(fault, ARGUMENTS(SignalArguments, p), INPUT(REAL, v, 1), OUTPUT(REAL, out, 2))\n",
            "{ FOR_ITEMS(i, p.sets) { out[i] = fault_body(v); } }"
        )
    };
}

#[test]
fn text_has_the_shape_of_metal() {
    shape(
        Backend::Metal,
        &[
            // An array of the device through a plain pointer.
            fault!("const REAL *", "x[0]"),
            fault!("THREAD const REAL *", "x[0]"),
            // No double, neither by name nor by a bare literal.
            fault!("GLOBAL const REAL *", "(float)(double)x[0]"),
            fault!("GLOBAL const REAL *", "x[0] * 0.5"),
            // No function of the C library.
            fault!("GLOBAL const REAL *", "expf(x[0])"),
        ],
    );
}

#[test]
fn text_has_the_shape_of_cuda() {
    shape(
        Backend::Cuda,
        &[
            fault!("GLOBAL const REAL *", "(float)(double)x[0]"),
            fault!("GLOBAL const REAL *", "x[0] * 0.5"),
            // A function of the host.
            "static REAL on_host(REAL x) { return x; }\n\
             KERNEL(fault, ARGUMENTS(SignalArguments, p), OUTPUT(REAL, out, 1))\n\
             { FOR_ITEMS(i, p.sets) { out[i] = on_host(R(1.0)); } }",
        ],
    );
}

#[test]
fn a_sound_function_is_not_a_fault() {
    let Some(clang) = find("CLANG", "clang", "clang") else { return };
    let sound = fault!("GLOBAL const REAL *", "x[0] * R(0.5)");
    for backend in [Backend::Metal, Backend::Cuda] {
        let joined = format!("{}\n{sound}\n", source(backend, Text::Signal));
        let output = device_shape(&clang, backend, &joined);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
