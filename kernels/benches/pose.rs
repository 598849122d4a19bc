//! Time of a view of the five-parameter projector on one thread: the integral, and integral,
//! loss, five gradients and normal matrix from one march:
//! `cargo bench -p microtome-kernels --bench pose`. CPU time, least and median of nine calls;
//! float32, steps of one voxel, as many samples as voxels along an axis. Samples are pixels
//! x steps, those outside the volume too.
#![allow(missing_docs, clippy::print_stdout)]

use cpu_time::ThreadTime;
use microtome_kernels::ray::trilinear::{
    About, Affine, Posed, Scene, Steps, adjoint, forward, normal,
};
use microtome_kernels::ray::{Beam, Grid, Panel, View};

fn times(mut run: impl FnMut()) -> [f64; 2] {
    let mut all: Vec<f64> = (0..9)
        .map(|_| {
            let start = ThreadTime::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    all.sort_by(f64::total_cmp);
    [all[0], all[4]]
}

/// About z by `phi` and about x by `alpha`, as a map of the world to the grid.
fn place(phi: f64, alpha: f64) -> Affine {
    let ((s, c), (sa, ca)) = (phi.sin_cos(), alpha.sin_cos());
    let linear = [[c, s * ca, s * sa], [-s, c * ca, c * sa], [0.0, -sa, ca]];
    Affine { linear, shift: [0.3, 0.0, -0.7] }
}

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
    assert!(pool.is_ok());
    for n in [128_usize, 256] {
        let grid = Grid { shape: [n; 3], voxel: [1.0; 3] };
        let steps = Steps { length_mm: 1.0, count: n, about: About::Pixel };
        let scene = Scene { grid, panel: Panel::flat(n, n), steps };
        let view = View {
            beam: Beam::Parallel([0.0, 1.0, 0.0]),
            detector: [0.0; 3],
            u: [1.0, 0.0, 0.0],
            v: [0.0, 0.0, 1.0],
        };
        let volume: Vec<f32> =
            (0..grid.len()).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0).collect();
        let measured = vec![1.0_f32; n * n];
        for (phi, alpha) in [(0.0, 0.0), (0.3, 0.02), (0.8, 0.02), (1.5, -0.03)] {
            let place = place(phi, alpha);
            let posed = Posed { view, place, rates: vec![place; 5] };
            let posed = std::slice::from_ref(&posed);
            let mut out = vec![0.0_f32; n * n];
            let mut back = vec![0.0_f32; grid.len()];
            let f = times(|| forward(&scene, posed, &volume, &mut out));
            let g = times(|| {
                std::hint::black_box(normal(&scene, posed, &volume, &measured, None));
            });
            let t = times(|| adjoint(&scene, posed, &measured, &mut back));
            let samples = (n * n * n) as f64 * 1e-9;
            println!(
                "{n:4} phi {phi:4.1}  forward {:6.2} {:6.2} ms {:5.2} Gs/s   with gradient \
                 {:6.2} {:6.2} ms {:4.2} x   transpose {:6.2} {:6.2} ms",
                f[0] * 1e3,
                f[1] * 1e3,
                samples / f[1],
                g[0] * 1e3,
                g[1] * 1e3,
                g[1] / f[1],
                t[0] * 1e3,
                t[1] * 1e3
            );
        }
    }
}
