//! Tests of the march: its definition, its derivatives, its transpose.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::ray::{Beam, Grid, Panel, View};
use crate::simd::SimdLevel;

const PANEL: Panel = Panel::flat(19, 7);

fn value(i: usize) -> f64 {
    ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0
}

/// A turn about a slanted axis and a shift.
fn place(angle: f64) -> Affine {
    let ((s, c), (t, u)) = (angle.sin_cos(), (0.6 * angle + 0.2).sin_cos());
    let linear = [[c, s, 0.0], [-s * u, c * u, t], [s * t, -c * t, u]];
    Affine { linear, shift: [0.7 * s, 0.4, -0.9 * t] }
}

fn rates() -> Vec<Affine> {
    (0..4)
        .map(|i| {
            let v = |k: usize| value(17 * i + 5 * k) * 0.3;
            Affine {
                linear: [[v(0), v(1), v(2)], [v(3), v(4), v(5)], [v(6), v(7), v(8)]],
                shift: [v(9), v(10), v(11)],
            }
        })
        .collect()
}

fn plus(place: &Affine, rate: &Affine, t: f64) -> Affine {
    let mut out = *place;
    for r in 0..3 {
        for c in 0..3 {
            out.linear[r][c] += t * rate.linear[r][c];
        }
        out.shift[r] += t * rate.shift[r];
    }
    out
}

fn views() -> Vec<Posed> {
    (0..9)
        .map(|i| {
            let far = |k: f64| [0.0, k, 0.3];
            let beam = match i % 3 {
                0 => Beam::Parallel([0.02, 2.0, -0.1]),
                // Outside, and inside the volume.
                1 => Beam::Source(far(-60.0)),
                _ => Beam::Source(far(-3.0)),
            };
            let view = View { beam, detector: far(25.0), u: [1.6, 0.1, 0.0], v: [0.0, 0.2, 2.3] };
            Posed { view, place: place(0.7 * f64::from(i)), rates: rates() }
        })
        .collect()
}

fn scenes() -> Vec<Scene> {
    let shapes = [[21, 17, 9], [21, 17, 1], [1, 9, 5], [6, 1, 8], [1, 1, 1], [2, 2, 2]];
    let mut out: Vec<Scene> = shapes
        .into_iter()
        .map(|shape| {
            let grid = Grid { shape, voxel: [1.0, 0.8, 1.3] };
            let steps = Steps::covering(&grid, [0.1, -0.2, 0.3]);
            Scene { grid, panel: PANEL, steps }
        })
        .collect();
    let about = About::Pixel;
    out.push(Scene { steps: Steps { length_mm: 0.7, count: 83, about }, ..out[0] });
    out
}

fn volume<T: Real>(scene: &Scene) -> Vec<T> {
    (0..scene.grid.len()).map(|i| T::narrow(value(i))).collect()
}

/// The integral sample by sample, voxel by voxel.
fn definition(scene: &Scene, posed: &Posed, x: &[f64], iu: usize, iv: usize) -> f64 {
    let (g, view, steps) = (&scene.grid, &posed.view, &scene.steps);
    let cu = iu as f64 - (scene.panel.nu as f64 - 1.0) / 2.0;
    let cv = iv as f64 - (scene.panel.nv as f64 - 1.0) / 2.0;
    let pixel: [f64; 3] =
        std::array::from_fn(|k| view.detector[k] + cu * view.u[k] + cv * view.v[k]);
    let (from, d) = match view.beam {
        Beam::Parallel(d) => (pixel, d),
        Beam::Source(s) => (s, std::array::from_fn(|k| pixel[k] - s[k])),
    };
    let size = d.iter().map(|v| v * v).sum::<f64>().sqrt();
    let d = d.map(|v| v / size);
    let to = match steps.about {
        About::Pixel => pixel,
        About::Point(c) => c,
    };
    let middle: f64 = (0..3).map(|k| (to[k] - from[k]) * d[k]).sum();
    let mut sum = 0.0;
    for k in 0..steps.count {
        let t = middle + (k as f64 - (steps.count as f64 - 1.0) / 2.0) * steps.length_mm;
        // A sample at the source counts, to rounding.
        if matches!(view.beam, Beam::Source(_)) && t < -1e-9 {
            continue;
        }
        let w: [f64; 3] = std::array::from_fn(|k| from[k] + t * d[k]);
        let q: [f64; 3] = std::array::from_fn(|r| {
            let m = posed.place.linear[r];
            let p = m[0] * w[0] + m[1] * w[1] + m[2] * w[2] + posed.place.shift[r];
            p / g.voxel[r] + (g.shape[r] as f64 - 1.0) / 2.0
        });
        for (j, x) in x.iter().enumerate() {
            let i = [j % g.shape[0], j / g.shape[0] % g.shape[1], j / g.shape[0] / g.shape[1]];
            let hat = |r: usize| (1.0 - (q[r] - i[r] as f64).abs()).max(0.0);
            sum += hat(0) * hat(1) * hat(2) * x;
        }
    }
    sum * steps.length_mm
}

#[test]
fn equals_the_definition() {
    for scene in scenes() {
        let (wide, single) = (volume::<f64>(&scene), volume::<f32>(&scene));
        let views = views();
        let pixels = PANEL.nu * PANEL.nv;
        let mut p = vec![0.0; views.len() * pixels];
        let mut p32 = vec![0.0_f32; p.len()];
        forward(&scene, &views, &wide, &mut p);
        forward(&scene, &views, &single, &mut p32);
        let mut met = 0;
        for (v, posed) in views.iter().enumerate() {
            for at in (0..pixels).step_by(3) {
                let (found, single) = (p[v * pixels + at], f64::from(p32[v * pixels + at]));
                let expected = definition(&scene, posed, &wide, at % PANEL.nu, at / PANEL.nu);
                assert!(
                    (found - expected).abs() < 1e-12 * 30.0,
                    "{found} {expected} {v} {at} {scene:?}"
                );
                // Positions are known to 1e-6 voxel, values are at most 1, some 40 samples.
                assert!(
                    (single - expected).abs() < 2e-4,
                    "{single} {found} {v} {at} {:?}",
                    scene.grid
                );
                met += usize::from(expected != 0.0);
            }
        }
        assert!(met > 5, "{:?}", scene.grid);
    }
}

/// Central differences of the integral; a few rays meet a kink between the two.
#[test]
fn sums_are_derivatives() {
    let scene = scenes()[0];
    let x = volume::<f64>(&scene);
    let pixels = PANEL.nu * PANEL.nv;
    let t = 1e-7;
    for posed in
        views().iter().filter(|p| !matches!(p.view.beam, Beam::Source([_, y, _]) if y > -9.0))
    {
        let (mut p, mut j) = (vec![0.0; pixels], vec![0.0; 4 * pixels]);
        jacobian(&scene, posed, &x, &mut p, &mut j);
        let at = |place: Affine| {
            let moved = Posed { place, ..posed.clone() };
            let mut out = vec![0.0; pixels];
            forward(&scene, &[moved], &x, &mut out);
            out
        };
        assert_eq!(p, at(posed.place));
        let mut good = 0;
        for (i, rate) in posed.rates.iter().enumerate() {
            let (a, b) = (at(plus(&posed.place, rate, t)), at(plus(&posed.place, rate, -t)));
            for l in 0..pixels {
                let difference = (a[l] - b[l]) / (2.0 * t);
                good += usize::from((difference - j[i * pixels + l]).abs() < 1e-5);
            }
        }
        assert!(good as f64 > 0.97 * (4 * pixels) as f64, "{good}");
        // The normal equations are those of the table; half of the rays counts.
        let y: Vec<f64> = (0..pixels).map(|i| value(3 * i)).collect();
        let mask: Vec<u8> = (0..pixels).map(|i| u8::from(i % 3 != 0)).collect();
        let found = &normal(&scene, std::slice::from_ref(posed), &x, &y, Some(&mask))[0];
        let kept = || (0..pixels).filter(|l| mask[*l] != 0);
        let loss: f64 = kept().map(|l| 0.5 * (p[l] - y[l]).powi(2)).sum();
        assert!((found.loss - loss).abs() < 1e-12 * loss);
        for i in 0..4 {
            let g: f64 = kept().map(|l| (p[l] - y[l]) * j[i * pixels + l]).sum();
            assert!((found.gradient[i] - g).abs() < 1e-10 * g.abs().max(1.0));
            for k in 0..4 {
                let n: f64 = kept().map(|l| j[k * pixels + l] * j[i * pixels + l]).sum();
                assert!((found.normal[4 * i + k] - n).abs() < 1e-10 * n.abs().max(1.0));
            }
        }
    }
}

fn transpose_gap<T: Real>(scene: &Scene) -> f64 {
    let views = views();
    let x = volume::<T>(scene);
    let n = views.len() * PANEL.nu * PANEL.nv;
    let y: Vec<T> = (0..n).map(|i| T::narrow(value(7 * i + 3))).collect();
    let (mut ax, mut aty) = (vec![T::default(); n], vec![T::default(); x.len()]);
    forward(scene, &views, &x, &mut ax);
    adjoint(scene, &views, &y, &mut aty);
    let dot = |a: &[T], b: &[T]| a.iter().zip(b).map(|(a, b)| a.wide() * b.wide()).sum::<f64>();
    let scale = (dot(&ax, &ax) * dot(&y, &y)).sqrt();
    assert!(scale > 0.0);
    (dot(&ax, &y) - dot(&x, &aty)).abs() / scale
}

#[test]
fn transposes() {
    for scene in scenes() {
        let gap = transpose_gap::<f64>(&scene);
        assert!(gap < 1e-14, "{gap:e} {scene:?}");
        let gap = transpose_gap::<f32>(&scene);
        assert!(gap < 1e-6, "{gap:e} {scene:?}");
    }
}

#[test]
fn threads_change_no_bit() {
    let scene = scenes()[0];
    let views = views();
    let x = volume::<f32>(&scene);
    let y: Vec<f32> = (0..9 * 133).map(|i| value(7 * i + 3) as f32).collect();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut ax, mut aty) = (vec![0.0; y.len()], vec![0.0; x.len()]);
            forward(&scene, &views, &x, &mut ax);
            adjoint(&scene, &views, &y, &mut aty);
            (ax, aty, normal(&scene, &views, &x, &y, None))
        })
    };
    let one = with(1);
    assert!(one == with(2) && one == with(5));
}

/// Levels with fused multiply-add agree to the bit, those without to rounding.
#[test]
fn levels_agree() {
    for scene in scenes() {
        let views = views();
        let x = volume::<f32>(&scene);
        let at = |level: SimdLevel| {
            let mut out = vec![0.0_f32; views.len() * PANEL.nu * PANEL.nv];
            forward_at(level, &scene, &views, &x, &mut out);
            out
        };
        let levels = SimdLevel::available();
        let best = at(*levels.last().unwrap());
        for level in levels {
            let found = at(level);
            if level.name() == "scalar" {
                assert!(found.iter().zip(&best).all(|(a, b)| (a - b).abs() < 1e-4));
            } else {
                assert!(found == best, "{}", level.name());
            }
        }
    }
}
