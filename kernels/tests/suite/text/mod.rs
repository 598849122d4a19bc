//! Compiles a kernel text with the C compiler of this machine and runs it.

pub(crate) mod orthotropic;
pub(crate) mod problem;
pub(crate) mod zonal;

use microtome_kernels::Plan;
use microtome_kernels::simd::LANES;
use microtome_kernels::text::{
    Backend, Layout, PhiloxArguments, SeriesArguments, SignalArguments, Text, source,
};
use std::path::PathBuf;
use std::process::{Command, Output};

/// The command named by the variable, else `fallback`; `None`, and a line that
/// says so, where it does not run.
pub(crate) fn find(variable: &str, fallback: &str, what: &str) -> Option<String> {
    let command = std::env::var(variable).unwrap_or_else(|_| fallback.to_owned());
    if Command::new(&command).arg("--version").output().is_ok_and(|o| o.status.success()) {
        return Some(command);
    }
    eprintln!("skipped: no {what} (`{command}`; set {variable} to name one)");
    None
}

/// A batch of parameter sets on which a text and the Rust loops are compared.
pub(crate) trait Batch {
    /// The text whose kernels run.
    const TEXT: Text;
    /// What the outputs are; the first [`Self::SIGNALS`] are signals `[set, slot]`.
    const NAMES: &[&str];
    const SIGNALS: usize;

    fn new() -> Self;

    fn plan(&self) -> &Plan;

    /// Every output of the text. `grid` 0 stands for one work item an item.
    fn run(&self, program: &Program, grid: u32) -> Vec<Vec<f64>>;

    /// The numbers of [`Batch::run`] from the Rust loops, each with the magnitude that
    /// its error is relative to; signals as `[set, measurement]`.
    fn reference(&self) -> Vec<Vec<[f64; 2]>>;
}

/// One buffer of a launch; lengths of outputs count numbers.
#[derive(Clone, Copy)]
pub(crate) enum Buffer<'a> {
    Real(&'a [f64]),
    U32(&'a [u32]),
    RealOut(usize),
    U32Out(usize),
}

/// Lines that compare the structs of Rust with those of the text.
pub(crate) fn layout_checks(layout: &Layout) -> String {
    let Layout { name, size, fields } = layout;
    let mut lines = format!("STATIC_ASSERT(rust_{name}, sizeof({name}) == {size});\n");
    for (field, offset) in *fields {
        lines += &format!(
            "STATIC_ASSERT(rust_{name}_{field}, OFFSET_OF({name}, {field}) == {offset});\n"
        );
    }
    lines
}

/// The text for `backend` with the checks of the layout after it.
pub(crate) fn checked_source(backend: Backend, text: Text) -> String {
    let mut joined = source(backend, text);
    match text {
        Text::Signal => joined += &layout_checks(&SignalArguments::LAYOUT),
        Text::Series => joined += &layout_checks(&SeriesArguments::LAYOUT),
        Text::Philox => return joined + &layout_checks(&PhiloxArguments::LAYOUT),
    }
    joined += &format!("STATIC_ASSERT(rust_LANES, LANES == {LANES});\n");
    joined
}

/// The function that `host_main.c` calls: every kernel at every position of the grid.
fn run_kernel(text: Text) -> String {
    let arguments = match text {
        Text::Signal => "SignalArguments",
        Text::Series => "SeriesArguments",
        Text::Philox => "PhiloxArguments",
    };
    let mut c = format!(
        "#include <string.h>\n\
         static int run_kernel(const char *name, const void *words, void **b, uint32_t grid)\n{{\n\
         {arguments} p;\nmemcpy(&p, words, sizeof p);\n"
    );
    for kernel in text.kernels() {
        let body = text.body();
        let from = body.find(&format!("KERNEL({kernel},")).unwrap();
        let head = &body[from..from + body[from..].find('{').unwrap()];
        let n = head.matches("INPUT(").count() + head.matches("OUTPUT(").count();
        let buffers: String = (0..n).map(|i| format!("b[{i}], ")).collect();
        c += &format!(
            "if (!strcmp(name, \"{kernel}\")) {{\n\
             for (uint32_t id = 0; id < grid; id++) {kernel}(p, {buffers}id, grid);\nreturn 1;\n}}\n"
        );
    }
    c + "return 0;\n}\n"
}

/// A text compiled for the host.
pub(crate) struct Program {
    folder: tempfile::TempDir,
    file: PathBuf,
}

impl Program {
    /// Compiles a text, with warnings as errors.
    pub(crate) fn new(cc: &str, text: Text, double: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let main = include_str!("host_main.c");
        let c = checked_source(Backend::Host, text) + &run_kernel(text) + main;
        let file = folder.path().join("program");
        let flags = ["-O2", if double { "-DREAL_IS_DOUBLE" } else { "-Wdouble-promotion" }];
        let output = compile(cc, &folder, &c, &flags, Some(&file));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder, file }
    }

    /// Runs a kernel over a grid; the outputs one after another, as bytes.
    fn run_bytes(&self, kernel: &str, grid: u32, words: &[u32], buffers: &[Buffer<'_>]) -> Vec<u8> {
        let mut input = Vec::new();
        let mut put = |n: usize| input.extend((n as u32).to_ne_bytes());
        put(grid as usize);
        put(words.len());
        words.iter().for_each(|w| put(*w as usize));
        put(buffers.len());
        for buffer in buffers {
            let (kind, count) = match buffer {
                Buffer::Real(v) => (0u32, v.len()),
                Buffer::U32(v) => (1, v.len()),
                Buffer::RealOut(n) => (2, *n),
                Buffer::U32Out(n) => (3, *n),
            };
            input.extend(kind.to_ne_bytes());
            input.extend((count as u32).to_ne_bytes());
            match buffer {
                Buffer::Real(v) => v.iter().for_each(|x| input.extend(x.to_ne_bytes())),
                Buffer::U32(v) => v.iter().for_each(|x| input.extend(x.to_ne_bytes())),
                _ => {}
            }
        }
        let paths = ["input", "output"].map(|name| self.folder.path().join(name));
        std::fs::write(&paths[0], input).unwrap();
        let output = Command::new(&self.file).arg(kernel).args(&paths).output().unwrap();
        assert!(output.status.success(), "{kernel}: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::read(&paths[1]).unwrap()
    }

    /// Runs a kernel whose outputs are real.
    pub(crate) fn run(
        &self,
        kernel: &str,
        grid: u32,
        words: &[u32],
        buffers: &[Buffer<'_>],
    ) -> Vec<f64> {
        let bytes = self.run_bytes(kernel, grid, words, buffers);
        bytes.as_chunks::<8>().0.iter().map(|b| f64::from_ne_bytes(*b)).collect()
    }

    /// Runs a kernel whose outputs are integers.
    pub(crate) fn run_u32(
        &self,
        kernel: &str,
        grid: u32,
        words: &[u32],
        buffers: &[Buffer<'_>],
    ) -> Vec<u32> {
        let bytes = self.run_bytes(kernel, grid, words, buffers);
        bytes.as_chunks::<4>().0.iter().map(|b| u32::from_ne_bytes(*b)).collect()
    }
}

/// Compiles C99 in `folder`; only checks it without `to`.
pub(crate) fn compile(
    cc: &str,
    folder: &tempfile::TempDir,
    c: &str,
    flags: &[&str],
    to: Option<&PathBuf>,
) -> Output {
    let source = folder.path().join("program.c");
    std::fs::write(&source, c).unwrap();
    let mut command = Command::new(cc);
    command.args(["-std=c99", "-Wall", "-Wextra", "-Werror"]).args(flags).arg(&source);
    match to {
        Some(file) => command.arg("-o").arg(file).arg("-lm"),
        None => command.arg("-fsyntax-only"),
    };
    command.output().unwrap()
}

/// What clang says of a source as Metal or as CUDA; the stub header stands for the
/// language's own declarations.
pub(crate) fn device_shape(clang: &str, backend: Backend, joined: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let (stub, flags): (_, &[&str]) = match backend {
        Backend::Metal => (include_str!("metal_stub.h"), &["-x", "c++", "-std=c++14"]),
        _ => {
            let cuda = &[
                "-x",
                "cuda",
                "--cuda-device-only",
                "-nocudainc",
                "-nocudalib",
                "--cuda-gpu-arch=sm_80",
            ];
            (include_str!("cuda_stub.h"), cuda)
        }
    };
    let body = joined.replace("#include <metal_stdlib>", "");
    let file = folder.path().join("program.txt");
    std::fs::write(&file, format!("{stub}\n{body}")).unwrap();
    Command::new(clang)
        .args(flags)
        .args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wdouble-promotion"])
        .args(["-Wno-unknown-attributes", "-Wno-unknown-cuda-version", "-Wno-ignored-attributes"])
        .arg(&file)
        .output()
        .unwrap()
}

/// SplitMix64: random numbers of the tests, independent of the crate's own.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Uniform in [low, high).
    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        low + (high - low) * ((z ^ (z >> 31)) >> 11) as f64 * 2f64.powi(-53)
    }

    /// A direction of length one, uniform over the sphere.
    pub(crate) fn direction(&mut self) -> [f64; 3] {
        let z = self.uniform(-1.0, 1.0);
        let phi = self.uniform(0.0, std::f64::consts::TAU);
        let r = (1.0 - z * z).sqrt();
        [r * phi.cos(), r * phi.sin(), z]
    }
}
