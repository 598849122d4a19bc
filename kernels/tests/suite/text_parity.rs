//! The device text, executed by the host's C compiler, against the Rust loops, and
//! its shape as Metal and as CUDA, judged by clang. Prints a line that begins with
//! `skipped` where a compiler is missing. What is compared: `text/problem.rs`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use crate::text;

use microtome_kernels::philox::{Philox, philox4x32_10};
use microtome_kernels::text::{
    Backend, Layout, ORTHOTROPIC_DEGREES, PhiloxArguments, SignalArguments, Text, source,
};
use text::Buffer::U32Out;
use text::orthotropic::OrthotropicProblem;
use text::problem::{Problem, SETS};
use text::zonal::ZonalProblem;
use text::{Batch, Program, compile, device_shape, find, layout_checks};

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

fn parity<B: Batch>(double: bool, tolerance: f64, smallest: f64) {
    let Some(cc) = find("CC", "cc", "C compiler") else { return };
    let problem = B::new();
    let program = Program::new(&cc, B::TEXT, double);
    let outputs = problem.run(&program, 0);
    let reference = problem.reference();
    assert_eq!([outputs.len(), reference.len()], [B::NAMES.len(); 2]);
    let n = problem.plan().measurements();
    for (k, (got, reference)) in outputs.iter().zip(reference).enumerate() {
        let name = B::NAMES[k];
        // Signals: every slot was written; those of measurements are compared.
        assert!(got.iter().all(|x| x.is_finite()), "{name}");
        let mut got = got.clone();
        if k < B::SIGNALS {
            let mut gathered = vec![0.0; SETS * n];
            for (row, slots) in gathered.chunks_mut(n).zip(got.chunks(problem.plan().slots())) {
                problem.plan().gather(slots, row);
            }
            got = gathered;
        }
        let error = worst(&got, &reference, smallest);
        eprintln!("{name}: largest relative error {error:.1e}");
        assert!(error <= tolerance, "{name}: {error:e}");
    }
}

#[test]
fn double_text_equals_the_rust_loops() {
    parity::<Problem>(true, 1e-13, f64::MIN_POSITIVE);
    parity::<ZonalProblem>(true, 1e-13, f64::MIN_POSITIVE);
    parity::<OrthotropicProblem<16>>(true, 1e-13, f64::MIN_POSITIVE);
}

#[test]
fn float_text_equals_the_rust_loops() {
    parity::<Problem>(false, 2e-6, f64::from(f32::MIN_POSITIVE));
    parity::<ZonalProblem>(false, 2e-6, f64::from(f32::MIN_POSITIVE));
    parity::<OrthotropicProblem<16>>(false, 2e-6, f64::from(f32::MIN_POSITIVE));
}

/// Degrees up to l = 126: the rounding of a cosine is l roundings of a slope, and what
/// underflows is lost.
#[test]
fn float_text_holds_the_most_degrees() {
    parity::<OrthotropicProblem<ORTHOTROPIC_DEGREES>>(false, 1e-5, 1e-15);
}

fn independence<B: Batch>() {
    let Some(cc) = find("CC", "cc", "C compiler") else { return };
    let problem = B::new();
    let program = Program::new(&cc, B::TEXT, false);
    let outputs = problem.run(&program, 0);
    for grid in [1, 7, 100_000] {
        assert_eq!(problem.run(&program, grid), outputs);
    }
}

#[test]
fn results_do_not_depend_on_the_grid() {
    independence::<Problem>();
    independence::<ZonalProblem>();
    independence::<OrthotropicProblem<16>>();
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
