//! A folder with small synthetic data, and the binary.

use microtome::datasets::phantom::add_gaussian_noise;
use microtome::datasets::{Array, Matrix, Values, write_matrix};
use microtome::kernels::philox::PhiloxRng;
use microtome::prelude::*;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// Measurements of the scheme.
pub(crate) const MEASUREMENTS: usize = 34;

/// How a call of the binary ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert!(
            !self.stderr.contains("panicked") && !self.stderr.contains("internal"),
            "{}",
            self.stderr
        );
        self
    }

    /// The last line of standard output as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.stdout.lines().last().unwrap()).unwrap()
    }
}

/// A folder with `a.bval`, `a.bvec` and signals.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let (b, g) = scheme();
        let row = |values: Vec<f64>| {
            values.iter().map(f64::to_string).collect::<Vec<_>>().join(" ") + "\n"
        };
        bench.put("a.bval", row(b.iter().map(|b| b * 1000.0).collect()));
        let bvec: String = (0..3).map(|i| row(g.iter().map(|g| g[i]).collect())).collect();
        bench.put("a.bvec", &bvec);
        bench
    }

    /// With `a.npy`, noisy ball-and-stick signals of some voxels.
    pub(crate) fn with_voxels(voxels: usize) -> Self {
        let bench = Self::new();
        bench.signals("a.npy", voxels, |_, _| ());
        bench
    }

    /// Writes signals of some voxels, changed by `change(voxel, signals)`.
    pub(crate) fn signals(&self, name: &str, voxels: usize, change: impl Fn(usize, &mut [f64])) {
        let mut values = signals(voxels);
        for (v, row) in values.chunks_mut(MEASUREMENTS).enumerate() {
            change(v, row);
        }
        write_matrix(&self.path(name), &Matrix { rows: voxels, columns: MEASUREMENTS, values })
            .unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Writes an array of 64-bit numbers.
    pub(crate) fn put_array(&self, name: &str, shape: &[usize], values: Vec<f64>) {
        let array = Array { shape: shape.to_vec(), values: Values::F64(values) };
        array.write(&self.path(name)).unwrap();
    }

    /// As [`Bench::put_array`], number by number.
    pub(crate) fn put_values(&self, name: &str, shape: &[usize], value: impl Fn(usize) -> f64) {
        self.put_array(name, shape, (0..shape.iter().product()).map(value).collect());
    }

    /// Shape and numbers of an array; an absolute path stands for itself.
    pub(crate) fn array(&self, name: impl AsRef<Path>) -> (Vec<usize>, Vec<f64>) {
        let array = Array::read(&self.path("").join(name)).unwrap();
        (array.shape, array.values.into_f64())
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Names in a folder, hidden ones included, sorted.
    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        let list = std::fs::read_dir(self.path(name)).unwrap();
        let mut names: Vec<String> =
            list.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The binary in this folder.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
        command.current_dir(self.folder.path()).args(words(line)).stdin(Stdio::null());
        command
    }

    /// Runs the binary with the words of a line; 'single quotes' hold a word together.
    pub(crate) fn run(&self, line: &str) -> Ended {
        Ended::of(self.command(line).output().unwrap())
    }

    /// `verb` with acquisition and model.
    pub(crate) fn fit(&self, rest: &str) -> Ended {
        self.run(&format!("fit --model ball_stick --bval a.bval --bvec a.bvec {rest}"))
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }
}

fn words(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (n, part) in line.split('\'').enumerate() {
        if n % 2 == 1 {
            out.push(part.to_string());
        } else {
            out.extend(part.split_whitespace().map(String::from));
        }
    }
    out
}

/// Two shells of 15 directions and 4 b = 0.
pub(crate) fn scheme() -> (Vec<f64>, Vec<[f64; 3]>) {
    let mut b = vec![0.0; 4];
    let mut g = vec![[0.0; 3]; 4];
    for shell in [1.0, 2.5] {
        for k in 0..15 {
            let z = 1.0 - (f64::from(k) + 0.5) / 15.0;
            let phi = 2.399_963 * f64::from(k) + shell;
            let r = (1.0 - z * z).sqrt();
            b.push(shell);
            g.push([r * phi.cos(), r * phi.sin(), z]);
        }
    }
    (b, g)
}

fn signals(voxels: usize) -> Vec<f64> {
    let (b, g) = scheme();
    let acquisition = Acquisition::from_b(&b, &g, None, None).unwrap();
    let model = Arc::new(compose_models(["stick", "ball"]).unwrap());
    let mut evaluator = Evaluator::new(&Lowered::new(model, &acquisition).unwrap());
    let x: Vec<f64> = (0..voxels)
        .flat_map(|v| {
            let (t, p) = (0.3 + 0.01 * v as f64, 0.02 * v as f64);
            let f = 0.3 + 0.4 * ((v % 17) as f64 / 17.0);
            [t.sin() * p.cos(), t.sin() * p.sin(), t.cos(), 1.7, 1.0, f, 1.0 - f, 1000.0]
        })
        .collect();
    let names = ["stick.mu_x", "stick.mu_y", "stick.mu_z", "stick.lambda_par", "ball.lambda_iso"];
    assert_eq!(evaluator.lowered().model.value_names()[..5], names);
    let mut values = evaluator.predict(&x);
    add_gaussian_noise(&mut values, 20.0, &mut PhiloxRng::new(3, 0, 0));
    values
}

/// Whether two files are equal to the byte.
#[track_caller]
pub(crate) fn assert_same(a: &Path, b: &Path) {
    let (x, y) = (std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
    assert!(x == y, "{} and {} differ", a.display(), b.display());
}
