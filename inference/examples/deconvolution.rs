//! Time of a deconvolution and its agreement with a given one:
//! `cargo run --release -p microtome-inference --example deconvolution -- FOLDER`.
//!
//! FOLDER holds `b.csv` (b in s/mm², gx, gy, gz; no header), `signals.csv` (one row a
//! voxel) and `response.csv` (one row a shell: b, then zonal coefficients), as
//! `benches/peers/csd.py` writes them. Prints the CPU time a voxel of the search
//! alone and of everything that a fit reports, and writes `fod.csv`.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use cpu_time::ThreadTime;
use microtome_inference::deconvolution::Deconvolver;
use microtome_models::{Acquisition, DeconvolutionSpec, Responses, SIDE_LOBES, TissueResponse};

fn table(path: String) -> Vec<Vec<f64>> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|l| l.split(',').map(|w| w.parse().unwrap()).collect()).collect()
}

fn main() {
    let folder = std::env::args().nth(1).unwrap();
    let scheme = table(format!("{folder}/b.csv"));
    let b: Vec<f64> = scheme.iter().map(|r| r[0] / 1000.0).collect();
    let g: Vec<[f64; 3]> = scheme.iter().map(|r| [r[1], r[2], r[3]]).collect();
    let acquisition = Acquisition::from_b(&b, &g, None, None).unwrap();
    let response = table(format!("{folder}/response.csv"));
    let responses = Responses {
        b_ms_per_um2: response.iter().map(|r| r[0] / 1000.0).collect(),
        tissue: vec![TissueResponse {
            name: "wm".into(),
            zonal: response.iter().map(|r| r[1..].to_vec()).collect(),
        }],
    };
    let spec = DeconvolutionSpec { lmax: Some(8), side_lobes: SIDE_LOBES, responses };
    let begin = ThreadTime::now();
    let deconvolver = Deconvolver::new(&spec, &acquisition).unwrap();
    println!("set-up {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
    let signals = table(format!("{folder}/signals.csv"));
    let mut state = deconvolver.state();
    let n = signals.len() as f64;
    let mut times = [const { Vec::new() }; 2];
    let (mut steps, mut active, mut failed) = (0, 0, 0);
    for _ in 0..9 {
        (steps, active, failed) = (0, 0, 0);
        let begin = ThreadTime::now();
        for y in &signals {
            let outcome = deconvolver.solve(y, &mut state);
            steps += outcome.steps;
            failed += usize::from(!outcome.converged);
            active += deconvolver.unknowns(&state).0.len();
        }
        times[0].push(begin.elapsed().as_secs_f64() / n);
        let begin = ThreadTime::now();
        for y in &signals {
            std::hint::black_box(deconvolver.fit(y, &mut state));
        }
        times[1].push(begin.elapsed().as_secs_f64() / n);
    }
    let median = |t: &mut Vec<f64>| {
        t.sort_by(f64::total_cmp);
        t[t.len() / 2]
    };
    println!(
        "{} voxels: search {:.5} ms a voxel, whole fit {:.5} ms; {:.1} steps, {:.1} active, {failed} not converged",
        signals.len(),
        median(&mut times[0]) * 1e3,
        median(&mut times[1]) * 1e3,
        steps as f64 / n,
        active as f64 / n
    );
    let mut text = String::new();
    for y in &signals {
        let row: Vec<String> =
            deconvolver.fit(y, &mut state).fod.iter().map(|c| format!("{c:?}")).collect();
        text.push_str(&(row.join(",") + "\n"));
    }
    std::fs::write(format!("{folder}/fod.csv"), text).unwrap();
}
