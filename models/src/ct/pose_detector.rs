//! Errors of source and detector as parameters of a view, for point sources.
//!
//! With the unit vectors $\hat u, \hat v$ of the detector, its normal $e$ away from the source
//! $s$, its centre $d$ and the turn $Q_\rho$ about $e$ by the roll $\rho$,
//!
//! $$s' = s - c_s e,\qquad d' = s + Q_\rho(d-s) + c_u\hat u + c_v\hat v + c_d e,\qquad
//!   u' = Q_\rho u,\quad v' = Q_\rho v .$$
//!
//! The changed rays are the given ones under an affine map of the world,
//!
//! $$Ax = s' + L(x-s),\qquad L\,[u, v, d-s] = [u', v', d'-s'],$$
//!
//! so that a projection is that of a volume placed by $P\circ A$ times what a ray is
//! stretched by:
//!
//! $$p' = g\,p[P\circ A],\qquad g = |L\hat r|,\qquad
//!   \partial p' = \partial g\,p[P\circ A] + g\,\partial p[P\circ A].$$
//!
//! The samples of a ray are moved by $A$ and are $g$ steps apart; value, derivative and
//! transpose are exact for them.
//!
//! | symbol | name | unit | |
//! |---|---|---|---|
//! | $c_u, c_v$ | `detector_u`, `detector_v` | mm | shift of the detector along u, v |
//! | $\rho$ | `roll` | rad | turn of the detector about the normal through the source |
//! | $c_s$ | `source_to_axis` | mm | the source farther away |
//! | $c_d$ | `axis_to_detector` | mm | the detector farther away |
//! | $r$ | | mm | from the source to a pixel |
//!
//! Source: Hartley & Zisserman 2004, *Multiple View Geometry*, section 6.1 (a camera is an
//! affine map of the world before a fixed one). Validated by
//! `detector_errors_are_other_views` and `derivatives_of_detector_errors` in
//! `models/tests/suite/pose.rs`.

use super::pose::{Matrix, PoseModel, product, times};
use super::{CtError, Surface, cross, dot, minus, norm};
use microtome_kernels::ray::trilinear::Affine;
use microtome_kernels::ray::{Beam, View};

/// Names of the parameters, in their order.
pub const DETECTOR_PARAMETERS: [&str; 5] =
    ["detector_u", "detector_v", "roll", "source_to_axis", "axis_to_detector"];

/// The least part that source and detector are apart, of what they were.
const NEAREST: f64 = 1e-3;

type Vector = [f64; 3];

/// One of [`DETECTOR_PARAMETERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    OffsetU,
    OffsetV,
    Roll,
    Source,
    Detector,
}

/// A parameter and what one unit of it moves at the edge of the volume, mm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DetectorError {
    pub(super) of: Error,
    pub(super) scale: f64,
}

/// A flat view of a point source with its axes.
struct Frame {
    source: Vector,
    view: View,
    u: Vector,
    v: Vector,
    /// $e$.
    away: Vector,
}

fn unit(a: Vector) -> Vector {
    let size = norm(a);
    a.map(|x| x / size)
}

fn add(a: Vector, factor: f64, b: Vector) -> Vector {
    std::array::from_fn(|k| a[k] + factor * b[k])
}

impl Frame {
    fn new(view: &View) -> Option<Self> {
        let Beam::Source(source) = view.beam else { return None };
        let normal = unit(cross(view.u, view.v));
        let side = dot(normal, minus(view.detector, source)).signum();
        let away = normal.map(|x| x * side);
        Some(Self { source, view: *view, u: unit(view.u), v: unit(view.v), away })
    }

    /// From source to detector along the normal, mm.
    fn depth(&self) -> f64 {
        dot(self.away, minus(self.view.detector, self.source))
    }

    /// $[u', v', d'-s']$ and $s'$ for some errors, and, where `rate` names one of them, their
    /// derivatives with respect to it.
    fn changed(&self, errors: &[(Error, f64)], rate: Option<usize>) -> (Matrix, Vector) {
        let roll: f64 = errors.iter().filter(|e| e.0 == Error::Roll).map(|e| e.1).sum();
        let (s, c) = roll.sin_cos();
        let turning = rate.map(|k| errors[k].0);
        // Turned about `away`: all of u and v is across it.
        let turn = |a: Vector| -> Vector {
            let along = dot(self.away, a);
            let flat = add(a, -along, self.away);
            let side = cross(self.away, flat);
            match turning {
                None => std::array::from_fn(|k| along * self.away[k] + c * flat[k] + s * side[k]),
                Some(Error::Roll) => std::array::from_fn(|k| -s * flat[k] + c * side[k]),
                Some(_) => [0.0; 3],
            }
        };
        let mut reach = turn(minus(self.view.detector, self.source));
        let mut source = if rate.is_none() { self.source } else { [0.0; 3] };
        for (k, (error, value)) in errors.iter().enumerate() {
            let factor = match rate {
                None => *value,
                Some(at) if at == k => 1.0,
                Some(_) => continue,
            };
            match error {
                Error::OffsetU => reach = add(reach, factor, self.u),
                Error::OffsetV => reach = add(reach, factor, self.v),
                Error::Detector => reach = add(reach, factor, self.away),
                Error::Source => {
                    source = add(source, -factor, self.away);
                    reach = add(reach, factor, self.away);
                }
                Error::Roll => {}
            }
        }
        ([turn(self.view.u), turn(self.view.v), reach], source)
    }

    /// $L$ from the columns that u, v and d - s become.
    fn linear(&self, columns: &Matrix) -> Matrix {
        let reach = minus(self.view.detector, self.source);
        let (u, v) = (self.view.u, self.view.v);
        let det = dot(cross(u, v), reach);
        // Rows of the inverse of [u, v, d - s].
        let back = [cross(v, reach), cross(reach, u), cross(u, v)].map(|r| r.map(|x| x / det));
        let rows = [0, 1, 2].map(|r| [columns[0][r], columns[1][r], columns[2][r]]);
        product(&rows, &back)
    }
}

/// The map of the world of a view with errors, and its derivatives.
pub(super) struct Change {
    frame: Frame,
    /// $A$, whose linear part is $L$.
    pub(super) map: Affine,
    /// Derivatives of $A$.
    pub(super) rates: Vec<Affine>,
}

impl Change {
    fn new(view: &View, errors: &[(Error, f64)]) -> Option<Self> {
        let frame = Frame::new(view)?;
        let affine = |columns: &Matrix, source: Vector| {
            let linear = frame.linear(columns);
            Affine { linear, shift: minus(source, times(&linear, frame.source)) }
        };
        let (columns, source) = frame.changed(errors, None);
        let map = affine(&columns, source);
        let rates = (0..errors.len())
            .map(|k| {
                let (columns, source) = frame.changed(errors, Some(k));
                affine(&columns, source)
            })
            .collect();
        Some(Self { frame, map, rates })
    }

    /// $g$ and its derivatives for the ray to a pixel, indices from the middle.
    pub(super) fn stretch(&self, cu: f64, cv: f64, rates: &mut [f64]) -> f64 {
        let View { detector, u, v, .. } = self.frame.view;
        let r = unit(minus(add(add(detector, cu, u), cv, v), self.frame.source));
        let moved = times(&self.map.linear, r);
        let g = norm(moved);
        for (out, rate) in rates.iter_mut().zip(&self.rates) {
            *out = dot(moved, times(&rate.linear, r)) / g;
        }
        g
    }
}

/// `first` after `second`, and the same for a derivative of either.
pub(super) fn after(first: &Affine, second: &Affine) -> Affine {
    let moved = times(&first.linear, second.shift);
    Affine {
        linear: product(&first.linear, &second.linear),
        shift: std::array::from_fn(|k| moved[k] + first.shift[k]),
    }
}

impl PoseModel {
    /// Errors of source and detector as further parameters of every view, of
    /// [`DETECTOR_PARAMETERS`], after those of the pose; 0 is the given geometry.
    ///
    /// # Errors
    /// Unknown names or one twice, parallel beams (a shift of their detector is one of the
    /// volume), curved detectors, a source in the plane of its detector, errors that leave a
    /// plane.
    pub fn with_detector(mut self, names: &[&str]) -> Result<Self, CtError> {
        let flat = self.is_flat();
        for name in names {
            let known = DETECTOR_PARAMETERS.into_iter().position(|p| p == *name);
            let Some(at) = known else {
                let known = DETECTOR_PARAMETERS.join(", ");
                let what = format!("unknown parameter `{name}`; a detector has {known}");
                return Err(CtError::key("parameters", what));
            };
            let name = DETECTOR_PARAMETERS[at];
            if self.names.contains(&name) {
                return Err(CtError::key("parameters", format!("`{name}` is there twice")));
            }
            if flat && matches!(name, "detector_v" | "roll") {
                let what = format!("`{name}` leaves the plane of a fan; leave it out");
                return Err(CtError::key("parameters", what));
            }
            if self.scene.panel.surface != Surface::Flat {
                let what = format!("`{name}` is there for flat detectors only; leave it out");
                return Err(CtError::key("parameters", what));
            }
            let of =
                [Error::OffsetU, Error::OffsetV, Error::Roll, Error::Source, Error::Detector][at];
            let (mut depth, mut axis) = (0.0, 0.0);
            for (view, row) in self.views.iter().enumerate() {
                let Some(frame) = Frame::new(row) else {
                    let what = format!(
                        "`{name}` needs a point source; with a parallel beam it is a motion of \
                         the volume or changes nothing"
                    );
                    return Err(CtError::key("parameters", what));
                };
                let far = frame.depth();
                if far < 1e-9 * norm(minus(row.detector, frame.source)) {
                    return Err(CtError::view(view, "the source is in the plane of the detector"));
                }
                depth += far / self.n_views() as f64;
                let to_axis = dot(frame.away, minus(self.volume.centre(), frame.source));
                axis += to_axis / self.n_views() as f64;
            }
            let (arm, axis) = (self.arm_mm(), axis.abs().max(1e-3 * depth));
            let scale = match of {
                Error::OffsetU | Error::OffsetV => axis / depth,
                Error::Roll => arm,
                Error::Detector => arm / depth,
                Error::Source => arm / axis * ((depth - axis).abs() / depth).max(0.1),
            };
            self.names.push(name);
            self.detector.push(DetectorError { of, scale });
        }
        Ok(self)
    }

    /// Errors of a view in its pose.
    fn errors(&self, theta: &[f64]) -> Vec<(Error, f64)> {
        let values = &theta[theta.len() - self.detector.len()..];
        self.detector.iter().zip(values).map(|(e, v)| (e.of, *v)).collect()
    }

    /// The change of a view; none where there are no parameters of the detector.
    pub(super) fn change(&self, view: usize, theta: &[f64]) -> Option<Change> {
        if self.detector.is_empty() {
            return None;
        }
        Change::new(&self.views[view], &self.errors(theta))
    }

    /// A view of the world with the errors of its source and detector.
    pub(super) fn changed_view(&self, view: usize, theta: &[f64]) -> View {
        let row = self.views[view];
        let Some(change) = self.change(view, theta) else { return row };
        let at = |x: Vector| {
            let moved = times(&change.map.linear, x);
            std::array::from_fn(|k| moved[k] + change.map.shift[k])
        };
        View {
            beam: Beam::Source(at(change.frame.source)),
            detector: at(row.detector),
            u: times(&change.map.linear, row.u),
            v: times(&change.map.linear, row.v),
        }
    }

    /// Whether the detector is still in front of the source.
    pub(super) fn check_detector(&self, theta: &[f64], view: usize) -> Result<(), CtError> {
        let Some(frame) = self.views.get(view).and_then(Frame::new) else { return Ok(()) };
        let farther: f64 = self
            .errors(theta)
            .iter()
            .filter(|(e, _)| matches!(e, Error::Source | Error::Detector))
            .map(|e| e.1)
            .sum();
        let (depth, was) = (frame.depth() + farther, frame.depth());
        if depth > NEAREST * was {
            return Ok(());
        }
        let what = format!(
            "source_to_axis and axis_to_detector leave {depth} mm between source and detector; positive lengths are needed"
        );
        Err(CtError::view(view, what))
    }

    /// $g$ of all pixels of a view, and its derivatives `[parameter, v, u]`; none where it is 1.
    pub(super) fn stretches(&self, view: usize, theta: &[f64]) -> Option<(Vec<f64>, Vec<f64>)> {
        let change = self.change(view, theta)?;
        let (panel, m) = (self.scene.panel, self.detector.len());
        let pixels = panel.nu * panel.nv;
        let (mut out, mut all) = (vec![0.0; pixels], vec![0.0; m * pixels]);
        let mut rates = vec![0.0; m];
        let middle = |n: usize| (n as f64 - 1.0) / 2.0;
        for (i, out) in out.iter_mut().enumerate() {
            let cu = (i % panel.nu) as f64 - middle(panel.nu);
            let cv = (i / panel.nu) as f64 - middle(panel.nv);
            *out = change.stretch(cu, cv, &mut rates);
            for (k, rate) in rates.iter().enumerate() {
                all[k * pixels + i] = *rate;
            }
        }
        Some((out, all))
    }

    /// How points on a few rays of a view, on the near and the far side of the volume, move
    /// across their rays in the frame of the volume for one unit of every parameter, mm:
    /// `[parameter][number]`. Changes of a pose with equal numbers are equal for every volume.
    ///
    /// # Errors
    /// A view that does not exist, a pose that is not finite.
    pub fn ray_motions(&self, view: usize, theta: &[f64]) -> Result<Vec<Vec<f64>>, CtError> {
        self.check_view(view)?;
        self.check_theta(theta, 1)?;
        let posed = self.posed(view, theta);
        let (panel, row) = (self.scene.panel, posed.view);
        let centre = self.volume.centre();
        let mut out = vec![Vec::new(); self.names.len()];
        let quarters = [[0.0, 0.0], [-0.25, -0.25], [0.25, -0.25], [-0.25, 0.25], [0.25, 0.25]];
        for [qu, qv] in quarters {
            let of_v = if panel.nv > 1 { qv * panel.nv as f64 } else { 0.0 };
            let pixel = add(add(row.detector, qu * panel.nu as f64, row.u), of_v, row.v);
            let (from, along) = match row.beam {
                Beam::Parallel(d) => (pixel, unit(d)),
                Beam::Source(s) => (s, unit(minus(pixel, s))),
            };
            let nearest = add(from, dot(along, minus(centre, from)), along);
            let across = unit(times(&posed.place.linear, along));
            for side in [-0.5, 0.5] {
                let w = add(nearest, side * self.arm_mm(), along);
                for (numbers, rate) in out.iter_mut().zip(&posed.rates) {
                    let moved = add(times(&rate.linear, w), 1.0, rate.shift);
                    numbers.extend(add(moved, -dot(across, moved), across));
                }
            }
        }
        Ok(out)
    }
}
