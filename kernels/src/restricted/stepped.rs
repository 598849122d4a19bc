//! The exact signal of any stepped gradient in a pore, with relaxing walls and membranes.
//!
//! $$\dot w = (-\Lambda + g(t)\cdot G)\,w,\qquad S = w_0\cdot w(T)$$
//!
//! in the polynomial modes of `modes.rs`: Λ holds diffusion, relaxing walls (as a term
//! $\rho\oint uv$ of the weak form) and membranes (as $\kappa\,\delta u\,\delta v$ of the jumps, with polynomials of
//! their own on each side). With $u_n = i^n w_n$ in angular order n all is real and G is
//! antisymmetric and block tridiagonal; in a slab with membranes, where orders do not help,
//! the two blocks are real and imaginary part.
//!
//! Every interval of constant gradient is one exponential. Where there are many, windows of
//! several are one exponential of Magnus' series to fourth order,
//!
//! $$\exp\Bigl(-H\Lambda + aG + c\,[-\Lambda, G]\Bigr),\qquad a = \int g\,dt,\quad
//!   c = -\int g\,(t - \tfrac H2)\,dt,$$
//!
//! halved until the signal stays. The exponential is that of `pulse.rs`: one real pole, a
//! block factorisation and its solves.
//!
//! | symbol | unit |
//! |---|---|
//! | g | rad/(ms µm), γ times the gradient |
//! | Λ | 1/ms |
//! | G | µm |
//! | ρ, κ | µm/ms |
//!
//! Source: Grebenkov 2007, doi:10.1103/RevModPhys.79.1077, sections III and V (matrix
//! formalism, relaxing walls); Callaghan 1997, doi:10.1006/jmre.1997.1233; Blanes, Casas,
//! Oteo & Ros 2009, doi:10.1016/j.physrep.2008.11.001, section 5.4 (Magnus). Validated by
//! `kernels/tests/suite/stepped.rs` against another method (1e-10 where the gradient has steps), by the tests
//! below and, over the whole reference, by the example `simulation_reference --exact`.

use super::modes::Geometry;
use super::propagation::System;
use crate::vector::{minus, norm, plus};

/// The signal is taken when half of the windows, or fewer modes, change it by less.
const CHANGE: f64 = 2e-10;
/// At the highest degree this change is still taken.
const LOOSE: f64 = 1e-8;
/// A change of the gradient above this share of its largest is a jump.
const JUMP: f64 = 0.03;
/// Intervals up to this number are made one by one.
const SHORT: usize = 48;
/// Windows of a long waveform to begin with.
const WINDOWS: usize = 64;
/// Highest degree of polynomials.
const DEGREE_MAX: usize = 120;
/// The same in a sphere where the gradient turns: orders have all their 2 n + 1 functions.
const DEGREE_TURNING: usize = 36;
/// Functions on each side of a membrane at most.
const LAYER_MAX: usize = 48;

/// A pore. Permeabilities above 1e5 µm/ms cost digits (1e-6 at 1e9).
#[derive(Clone, Debug, PartialEq)]
pub struct Pore {
    /// Its shape.
    pub shape: PoreShape,
    /// D, µm²/ms.
    pub diffusivity: f64,
    /// ρ of the walls, µm/ms.
    pub relaxivity: f64,
}

/// The shape of a pore about the origin; axes as in `walk`.
#[derive(Clone, Debug, PartialEq)]
pub enum PoreShape {
    /// Planes across x.
    Planes {
        /// Distance, µm.
        separation: f64,
        /// Position (µm) and permeability (µm/ms) of membranes, rising.
        membranes: Vec<[f64; 2]>,
    },
    /// A cylinder along z.
    Cylinder {
        /// Radius, µm.
        radius: f64,
    },
    /// A sphere.
    Sphere {
        /// Radius, µm.
        radius: f64,
    },
}

/// Why a signal is not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SteppedError {
    /// A gradient that turns in a sphere, so strong that its modes are too many.
    #[error(
        "the gradient turns in a sphere and is too strong for its modes: the signal is not settled to 1e-8 at degree {0}"
    )]
    Turns(usize),
    /// The phase across the pore needs too many modes.
    #[error(
        "the gradient is too strong for the modes of this pore: the signal is not settled to 1e-8"
    )]
    Strong,
}

/// An interval: its length (ms) and the gradient in it, in the frame of the pore.
pub type Interval = (f64, [f64; 3]);

/// The complex signal of a pore after all intervals, relative to the start; of the
/// restricted directions only (x between planes, x and y in a cylinder).
///
/// A gradient that turns in a sphere costs seconds, not milliseconds.
///
/// # Errors
/// Phases that the largest set of modes can't hold.
pub fn stepped_signal(pore: &Pore, intervals: &[Interval]) -> Result<[f64; 2], SteppedError> {
    let (size, dimensions, membranes) = match &pore.shape {
        PoreShape::Planes { separation, membranes } => (0.5 * separation, 1, &membranes[..]),
        PoreShape::Cylinder { radius } => (*radius, 2, &[][..]),
        PoreShape::Sphere { radius } => (*radius, 3, &[][..]),
    };
    // Runs of equal gradients, in units of the pore: phase a time.
    let mut runs: Vec<(f64, [f64; 3])> = Vec::new();
    for (time, g) in intervals.iter().filter(|i| i.0 > 0.0) {
        let mut kept = [0.0; 3];
        for a in 0..dimensions {
            kept[a] = g[a] * size;
        }
        match runs.last_mut() {
            Some((total, last)) if *last == kept => *total += time,
            _ => runs.push((*time, kept)),
        }
    }
    let Some(course) = Course::new(runs, dimensions) else { return Ok([1.0, 0.0]) };
    let rate = pore.diffusivity / (size * size);
    let wall = pore.relaxivity * size / pore.diffusivity;
    let largest = course.largest_phase();
    let turns = course.axes == 3;
    let most = if turns { DEGREE_TURNING } else { DEGREE_MAX };
    let mut degree = (2 * ((0.6 * largest + if turns { 2.0 } else { 5.0 }) as usize) + 4).min(most);
    let mut before: Option<([f64; 2], usize)> = None;
    loop {
        let modes = if membranes.is_empty() {
            let geometry = [Geometry::Planes, Geometry::Cylinder, Geometry::Sphere][dimensions - 1];
            System::round(geometry, degree, wall, course.axes)
        } else {
            let scaled: Vec<[f64; 2]> = membranes
                .iter()
                .map(|[x, kappa]| [x / size, kappa * size / pore.diffusivity])
                .collect();
            System::layered(&scaled, (degree + 2).min(LAYER_MAX), wall)
        };
        // The windows that one set of modes needs are those of the next.
        let (found, count) = match before {
            Some((_, count)) => (modes.propagate(&course.windows(count), rate), count),
            None => course.settled(&modes, rate),
        };
        if let Some((b, _)) = before {
            let change = apart(&b, &found);
            if change < CHANGE || (degree >= most || turns) && change < LOOSE {
                return Ok(found);
            }
        }
        if degree >= most {
            return Err(if turns { SteppedError::Turns(most) } else { SteppedError::Strong });
        }
        before = Some((found, count));
        degree = (degree + if turns { 4 } else { 8 }).min(most);
    }
}

fn apart(a: &[f64; 2], b: &[f64; 2]) -> f64 {
    (a[0] - b[0]).abs().max((a[1] - b[1]).abs())
}

/// Gradients over time in the directions that matter.
struct Course {
    runs: Vec<(f64, [f64; 3])>,
    /// 1: along one line; 2: turning in a cylinder; 3: turning in a sphere.
    axes: usize,
}

impl Course {
    /// Directions are turned so that a gradient along one line is along the first axis.
    fn new(runs: Vec<(f64, [f64; 3])>, dimensions: usize) -> Option<Self> {
        if runs.is_empty() {
            return None;
        }
        let largest = runs.iter().map(|r| r.1).max_by(|a, b| norm(*a).total_cmp(&norm(*b)));
        let main = largest.unwrap_or([0.0; 3]);
        let most = norm(main);
        if most == 0.0 {
            return Some(Self { runs, axes: 1 });
        }
        let unit = main.map(|v| v / most);
        let along = |g: &[f64; 3]| g[0] * unit[0] + g[1] * unit[1] + g[2] * unit[2];
        let off = |g: &[f64; 3]| {
            let p = along(g);
            norm([0, 1, 2].map(|a: usize| g[a] - p * unit[a]))
        };
        if runs.iter().all(|r| off(&r.1) <= 1e-13 * most) {
            let runs = runs.iter().map(|r| (r.0, [along(&r.1), 0.0, 0.0])).collect();
            return Some(Self { runs, axes: 1 });
        }
        Some(Self { runs, axes: dimensions })
    }

    fn largest_phase(&self) -> f64 {
        let (mut q, mut most) = ([0.0; 3], 0.0_f64);
        for (time, g) in &self.runs {
            q = plus(q, g.map(|g| g * time));
            most = most.max(norm(q));
        }
        most
    }

    /// The signal and the number of windows that it needs.
    fn settled(&self, system: &System, rate: f64) -> ([f64; 2], usize) {
        let all = usize::MAX;
        if self.runs.len() <= SHORT {
            return (system.propagate(&self.windows(all), rate), all);
        }
        let mut count = WINDOWS;
        let mut before = system.propagate(&self.windows(count), rate);
        loop {
            count *= 2;
            let found = system.propagate(&self.windows(count), rate);
            // Fourth order: what is left is a fifteenth of the change.
            if apart(&before, &found) < 15.0 * CHANGE || count >= 4 * self.runs.len() {
                return (found, count);
            }
            before = found;
        }
    }

    /// Windows of about a `count`th of the whole; they end where the gradient jumps.
    fn windows(&self, count: usize) -> Vec<Window> {
        let total: f64 = self.runs.iter().map(|r| r.0).sum();
        let width = total / count as f64;
        let most = self.runs.iter().map(|r| norm(r.1)).fold(0.0, f64::max);
        let mut out = Vec::new();
        let mut open: Vec<(f64, [f64; 3])> = Vec::new();
        let mut length = 0.0;
        for (k, (time, g)) in self.runs.iter().enumerate() {
            open.push((*time, *g));
            length += time;
            let jumps = self.runs.get(k + 1).is_none_or(|(next_time, next)| {
                let jump = norm(minus(*next, *g)) > JUMP * most;
                // A long run is one exponential, whatever the width.
                jump || *time >= width || *next_time >= width
            });
            if jumps || length >= width * (1.0 - 1e-9) {
                out.push(Window::joined(&open));
                open.clear();
                length = 0.0;
            }
        }
        out
    }
}

/// One exponential.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Window {
    pub(super) time: f64,
    pub(super) phase: [f64; 3],
    /// c of the header, all axes.
    pub(super) tilt: [f64; 3],
}

impl Window {
    fn of(time: f64, g: [f64; 3]) -> Self {
        Self { time, phase: g.map(|g| g * time), tilt: [0.0; 3] }
    }

    fn joined(runs: &[(f64, [f64; 3])]) -> Self {
        if let [(time, g)] = runs {
            return Self::of(*time, *g);
        }
        let time: f64 = runs.iter().map(|r| r.0).sum();
        let (mut phase, mut tilt, mut t) = ([0.0; 3], [0.0; 3], 0.0);
        for (h, g) in runs {
            let middle = t + 0.5 * h - 0.5 * time;
            for a in 0..3 {
                phase[a] += h * g[a];
                tilt[a] -= h * g[a] * middle;
            }
            t += h;
        }
        Self { time, phase, tilt }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::pulse::{Pulse, signals};
    use super::*;

    fn pair(g: f64, delta: f64, big: f64) -> Vec<Interval> {
        vec![(delta, [g, 0.0, 0.0]), (big - delta, [0.0; 3]), (delta, [-g, 0.0, 0.0])]
    }

    /// Pairs of pulses are those of `pulse.rs`, the code of the compartments.
    #[test]
    fn pairs_are_those_of_pulses() {
        for (i, geometry) in
            [Geometry::Planes, Geometry::Cylinder, Geometry::Sphere].into_iter().enumerate()
        {
            for (size, d, g) in [(4.0, 2.0, 0.08), (10.0, 1.0, 0.02), (16.0, 2.0, 0.05)] {
                let shape = match i {
                    0 => PoreShape::Planes { separation: size, membranes: vec![] },
                    1 => PoreShape::Cylinder { radius: 0.5 * size },
                    _ => PoreShape::Sphere { radius: 0.5 * size },
                };
                let pore = Pore { shape, diffusivity: d, relaxivity: 0.0 };
                let found = stepped_signal(&pore, &pair(g, 8.0, 21.0)).unwrap();
                let pulse = Pulse { delta: 8.0, big_delta: 21.0, gamma_g_delta: 8.0 * g };
                let (mut wanted, mut by_size, mut by_d) = ([0.0], [0.0], [0.0]);
                signals(geometry, size, d, &[pulse], &mut wanted, &mut by_size, &mut by_d);
                assert!((found[0] - wanted[0]).abs() < 4e-9, "{size}: {found:?} {wanted:?}");
                assert_eq!(found[1], 0.0);
            }
        }
    }

    /// A membrane that hardly holds is none, one that holds all is two pores.
    #[test]
    fn membranes_join_and_part() {
        let slab = |membranes| Pore {
            shape: PoreShape::Planes { separation: 10.0, membranes },
            diffusivity: 2.0,
            relaxivity: 0.05,
        };
        let intervals = pair(0.05, 5.0, 15.0);
        let none = stepped_signal(&slab(vec![]), &intervals).unwrap();
        // What is left of a wide open membrane falls with its permeability.
        let open = |kappa: f64| stepped_signal(&slab(vec![[1.0, kappa]]), &intervals).unwrap();
        let (wide, wider) = (open(1e3), open(1e4));
        let ratio = (none[0] - wide[0]) / (none[0] - wider[0]);
        assert!((ratio - 10.0).abs() < 0.05 && wider[1].abs() < 1e-3, "{none:?} {wider:?} {ratio}");
        let closed = |x: f64| Pore {
            shape: PoreShape::Planes { separation: 10.0, membranes: vec![[x, 0.0]] },
            diffusivity: 2.0,
            relaxivity: 0.0,
        };
        let found = stepped_signal(&closed(1.0), &intervals).unwrap();
        let part = |separation: f64| {
            let shape = PoreShape::Planes { separation, membranes: vec![] };
            let pore = Pore { shape, diffusivity: 2.0, relaxivity: 0.0 };
            stepped_signal(&pore, &intervals).unwrap()[0]
        };
        // Six tenths and four tenths; refocused, so that places do not matter.
        assert!((found[0] - 0.6 * part(6.0) - 0.4 * part(4.0)).abs() < 2e-9, "{found:?}");
        assert!(found[1].abs() < 2e-9);
    }

    /// In a sphere any frame gives the same signal, and a turning gradient whose turn is far
    /// too fast to be felt that of one along a line.
    #[test]
    fn a_sphere_is_round() {
        let pore =
            Pore { shape: PoreShape::Sphere { radius: 3.0 }, diffusivity: 1.5, relaxivity: 0.03 };
        let wave = |turn: [[f64; 3]; 3], n: usize| -> Vec<Interval> {
            let of = |k: usize| {
                let t = (k as f64 + 0.5) / n as f64;
                let (s, c) = (std::f64::consts::TAU * t).sin_cos();
                let g = [0.15 * s, 0.1 * c * (2.0 * s), 0.12 * c];
                (20.0 / n as f64, turn.map(|r| r[0] * g[0] + r[1] * g[1] + r[2] * g[2]))
            };
            (0..n).map(of).collect()
        };
        let straight = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let aslant = [[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]];
        let found = stepped_signal(&pore, &wave(straight, 24)).unwrap();
        let turned = stepped_signal(&pore, &wave(aslant, 24)).unwrap();
        assert!((found[0] - turned[0]).abs() < 1e-9, "{found:?} {turned:?}");
        // Along a line, but for a part in a billion: by all harmonics, and by the zonal ones.
        let mut pulses = pair(0.1, 6.0, 15.0);
        let line = stepped_signal(&pore, &pulses).unwrap();
        for (_, g) in &mut pulses {
            *g = [0.6 * g[0], 0.8 * g[0], 0.0];
        }
        pulses[0].1[2] = 1e-10;
        let all = stepped_signal(&pore, &pulses).unwrap();
        assert!((line[0] - all[0]).abs() < 2e-9, "{line:?} {all:?}");
    }

    /// A slow turn of a gradient that does not matter: any direction in a cylinder.
    #[test]
    fn a_cylinder_is_round() {
        let pore =
            Pore { shape: PoreShape::Cylinder { radius: 3.0 }, diffusivity: 1.5, relaxivity: 0.02 };
        let wave = |angle: f64, n: usize| -> Vec<Interval> {
            let of = |k: usize| {
                let t = (k as f64 + 0.5) / n as f64;
                let (s, c) = (std::f64::consts::TAU * t).sin_cos();
                let (x, y) = (0.1 * s, 0.07 * c * (4.0 * t * std::f64::consts::PI).sin());
                let (sine, cosine) = f64::sin_cos(angle);
                (20.0 / n as f64, [cosine * x - sine * y, sine * x + cosine * y, 9.0])
            };
            (0..n).map(of).collect()
        };
        let few = stepped_signal(&pore, &wave(0.0, 40)).unwrap();
        let turned = stepped_signal(&pore, &wave(1.1, 40)).unwrap();
        assert!((few[0] - turned[0]).abs() < 1e-9, "{few:?} {turned:?}");
        // The same steps each cut in three: windows agree with single exponentials.
        let cut: Vec<Interval> = wave(0.0, 40)
            .into_iter()
            .flat_map(|(h, g)| {
                // Tiny differences keep runs apart.
                [0.0, 1e-12, 0.0].map(|e| (h / 3.0, [g[0] + e, g[1], g[2]]))
            })
            .collect();
        let windows = stepped_signal(&pore, &cut).unwrap();
        assert!((few[0] - windows[0]).abs() < 2e-9, "{few:?} {windows:?}");
    }
}
