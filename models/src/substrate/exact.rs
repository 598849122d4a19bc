//! The exact twin of a walk: signals of single pores by their modes, without walkers.
//!
//! $$S = S_\perp\,e^{-D b_\parallel - T/T_2},\qquad
//!   b_\parallel = \int\Bigl|\int_0^t\gamma G_\parallel\,dt'\Bigr|^2 dt$$
//!
//! with $S_\perp$ of `kernels::restricted::stepped` along the restricted directions and free
//! diffusion along the others. Planes (with membranes), cylinders and spheres with relaxing
//! walls, capped cylinders as cylinder times planes, and free diffusion. A free direction
//! whose gradient does not refocus has no signal: walkers of a walk start at 0 there, so this
//! twin counts $e^{iqx}$ of the path only.
//!
//! | symbol | unit |
//! |---|---|
//! | b | ms/µm² |
//!
//! Source: Grebenkov 2007, doi:10.1103/RevModPhys.79.1077. Validated by `exact_twin` of
//! `models/tests/suite/tissue.rs` and by the example `simulation_reference --exact`.

use super::simulation::{Row, Signals, TOTAL};
use super::{Sequence, Substrate, SubstrateError};
use microtome_kernels::restricted::stepped::{Interval, Pore, PoreShape, stepped_signal};
use microtome_kernels::walk::{Estimate, Shape};

/// Exact signals, with standard errors and numbers of walkers of zero.
///
/// # Errors
/// Substrates without exact signals; gradients that are too strong for the modes.
pub fn exact_signals(
    substrate: &Substrate,
    sequence: &Sequence,
) -> Result<Signals, SubstrateError> {
    let shapes = pores(substrate.shape())?;
    let medium = &substrate.media()[0];
    let mut rows = Vec::new();
    let all = sequence.intervals().into_iter().zip(sequence.ends_ms());
    for (measurement, (intervals, end)) in all.enumerate() {
        let turned: Vec<Interval> =
            intervals.iter().map(|(h, g)| (*h, substrate.shape_from_world(*g))).collect();
        let free = shapes.iter().fold([true; 3], |free, (_, axes)| {
            [0, 1, 2].map(|a: usize| free[a] && !axes.contains(&a))
        });
        let weight = (-medium.diffusivity * b_value(&turned, free) - end / medium.t2_ms).exp();
        let mut signal = [weight, 0.0];
        for (shape, axes) in &shapes {
            let pore = Pore {
                shape: shape.clone(),
                diffusivity: medium.diffusivity,
                relaxivity: medium.relaxivity,
            };
            // The directions of the pore come first in its own frame.
            let own: Vec<Interval> = turned
                .iter()
                .map(|(h, g)| {
                    let mut to = [0.0; 3];
                    for (to, a) in to.iter_mut().zip(axes) {
                        *to = g[*a];
                    }
                    (*h, to)
                })
                .collect();
            let [re, im] = stepped_signal(&pore, &own).map_err(|e| SubstrateError::Walk {
                what: format!("measurement {measurement} (counted from 0): {e}"),
            })?;
            signal = [signal[0] * re - signal[1] * im, signal[0] * im + signal[1] * re];
        }
        let [real, imaginary] = signal;
        let signal = Estimate { real, imaginary, se_real: 0.0, se_imaginary: 0.0 };
        for compartment in [medium.name, TOTAL] {
            let derivatives = Vec::new();
            rows.push(Row { measurement, compartment, signal, derivatives, walkers: 0 });
        }
    }
    Ok(Signals { rows, walker_steps: 0, escaped: 0, stopped: 0 })
}

/// The pores whose product a shape is, with the axes that each restricts.
fn pores(shape: &Shape) -> Result<Vec<(PoreShape, Vec<usize>)>, SubstrateError> {
    Ok(match shape {
        Shape::Free => vec![],
        Shape::Plates { separation, membranes } => {
            let membranes = membranes.iter().map(|m| [m.position, m.permeability]).collect();
            vec![(PoreShape::Planes { separation: *separation, membranes }, vec![0])]
        }
        Shape::Cylinder { radius } => vec![(PoreShape::Cylinder { radius: *radius }, vec![0, 1])],
        Shape::Sphere { radius } => vec![(PoreShape::Sphere { radius: *radius }, vec![0, 1, 2])],
        Shape::Capped { radius, length } => {
            let ends = PoreShape::Planes { separation: *length, membranes: vec![] };
            vec![(PoreShape::Cylinder { radius: *radius }, vec![0, 1]), (ends, vec![2])]
        }
        _ => {
            return Err(SubstrateError::Walk {
                what: "exact signals are of free diffusion, planes, one cylinder, sphere or capped cylinder without a cell; walk the others".into(),
            });
        }
    })
}

/// $\int|q|^2dt$ of the free axes.
fn b_value(intervals: &[Interval], free: [bool; 3]) -> f64 {
    let mut b = 0.0;
    for a in (0..3).filter(|a| free[*a]) {
        let mut q = 0.0;
        for (h, g) in intervals {
            let step = g[a] * h;
            b += h * (q * q + q * step + step * step / 3.0);
            q += step;
        }
    }
    b
}
