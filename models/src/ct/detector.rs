//! Changes of a detector: offset, tilt, and the part of it that is used.
//!
//! With $\hat u$, $\hat v$ along the pixel steps and $\hat n = \hat u\times\hat v$:
//!
//! $$c' = c + o_u\hat u + o_v\hat v,\qquad
//!   (u', v') = R_{\hat n}(\alpha_n)\,R_{\hat u}(\alpha_u)\,R_{\hat v}(\alpha_v)\,(u, v)$$
//!
//! about the centre $c$, angles right-handed; on a curved detector $o_u$ goes along the arc. A crop
//! keeps the pixels $[a, b)$ of a direction and moves $c$ to their middle; then $b_u$
//! pixels become one, $u' = b_uu$, and its value is the mean or the sum of theirs.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $o$ | mm | offset |
//! | $\alpha$ | rad (degrees in files) | tilts: in the plane, about u, about v |
//!
//! The mean of projections over a pixel is what a coarse detector sees where lines are
//! nearly straight in it (the logarithm of a mean is not the mean of logarithms); counts
//! are summed. Validated by `a_crop_is_a_part_of_the_projections`,
//! `binned_projections_are_means_to_second_order` and `offsets_and_tilts_move_pixels` in
//! `models/tests/suite/set_ups.rs`.

use super::rigid::plane_distance;
use super::{CtError, Geometry, RigidTransform, Surface, cross};
use microtome_kernels::ray::{Panel, Real, View};
use std::ops::Range;

/// How much the radius of an arc about the source may change by rounding.
const RADIUS: f64 = 1e-9;

/// What becomes of the values of pixels that are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinRule {
    /// Projections.
    Mean,
    /// Counts.
    Sum,
}

/// Which views and pixels are used, and how many pixels become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reduction {
    raw: [usize; 3],
    views: Vec<usize>,
    v: Range<usize>,
    u: Range<usize>,
    bin: [usize; 2],
}

/// `[first, past]` or `[first, past, step]` of a key, within `n`.
fn range(
    key: &'static str,
    given: Option<&[usize]>,
    n: usize,
    steps: bool,
) -> Result<(Range<usize>, usize), CtError> {
    let (first, past, step) = match given {
        None => (0, n, 1),
        Some([first, past]) => (*first, *past, 1),
        Some([first, past, step]) if steps => (*first, *past, *step),
        Some(list) => {
            let form = if steps { "[first, past] or [first, past, step]" } else { "[first, past]" };
            return Err(CtError::key(key, format!("{list:?}; write {form}")));
        }
    };
    if first >= past || past > n || step == 0 {
        let what = format!(
            "[{first}, {past}] with a step of {step}; 0 <= first < past <= {n} and a step of \
             at least 1 are needed"
        );
        return Err(CtError::key(key, what));
    }
    Ok((first..past, step))
}

impl Reduction {
    /// A reduction of a geometry; `None` keeps all.
    ///
    /// # Shapes
    /// `views` `[first, past]` or `[first, past, step]`, `v` and `u` `[first, past]`
    /// (half open, counted from 0, before binning), `bin` `[bv, bu]`.
    ///
    /// # Errors
    /// Ranges outside of the detector or empty, a number of pixels that bins do not
    /// divide; the message names the key.
    pub fn new(
        geometry: &Geometry,
        views: Option<&[usize]>,
        v: Option<&[usize]>,
        u: Option<&[usize]>,
        bin: [usize; 2],
    ) -> Result<Self, CtError> {
        let [nv, nu] = geometry.detector();
        let raw = [geometry.n_views(), nv, nu];
        let (views, step) = range("crop.views", views, raw[0], true)?;
        let (v, _) = range("crop.v", v, nv, false)?;
        let (u, _) = range("crop.u", u, nu, false)?;
        for (word, n, b) in [("rows", v.len(), bin[0]), ("columns", u.len(), bin[1])] {
            if b == 0 || !n.is_multiple_of(b) {
                let what = format!(
                    "{b}; it must divide the {n} {word} of pixels (crop the rest with `crop`)"
                );
                return Err(CtError::key("bin", what));
            }
        }
        Ok(Self { raw, views: views.step_by(step).collect(), v, u, bin })
    }

    /// The shape before: `[view, v, u]`, with one v in the plane.
    pub fn raw(&self) -> [usize; 3] {
        self.raw
    }

    /// The shape after: `[view, v, u]`.
    pub fn shape(&self) -> [usize; 3] {
        [self.views.len(), self.v.len() / self.bin[0], self.u.len() / self.bin[1]]
    }

    /// Pixels that become one: `[bv, bu]`.
    pub fn bin(&self) -> [usize; 2] {
        self.bin
    }

    /// The views that are kept.
    pub fn views(&self) -> &[usize] {
        &self.views
    }

    /// The geometry of what is kept.
    ///
    /// # Errors
    /// A geometry of another shape.
    pub fn geometry(&self, of: &Geometry) -> Result<Geometry, CtError> {
        let [nv, nu] = of.detector();
        if [of.n_views(), nv, nu] != self.raw {
            let what = format!("made for [view, v, u] {:?}", self.raw);
            return Err(CtError::key("crop", what));
        }
        let panel = of.panel();
        let middle = |r: &Range<usize>| (r.start + r.end - 1) as f64 / 2.0;
        let (iu, iv) = (middle(&self.u), middle(&self.v));
        let [bv, bu] = self.bin.map(|b| b as f64);
        let changed = |at: &usize| {
            let view = of.views()[*at].recentred(panel, iu, iv);
            let v = if of.kind().dimensions() == 2 { view.v } else { view.v.map(|x| x * bv) };
            View { u: view.u.map(|x| x * bu), v, ..view }
        };
        let before: Vec<View> = self.views.iter().map(|k| of.views()[*k]).collect();
        let after: Vec<View> = self.views.iter().map(changed).collect();
        let surface = kept(panel, &before, &after)?;
        let [_, nv, nu] = self.shape();
        of.rebuilt([nv, nu], after, surface)
    }

    /// The values of what is kept, from `[view, v, u]`.
    ///
    /// # Errors
    /// An array of another length.
    pub fn values<T: Real>(&self, of: &[T], rule: BinRule) -> Result<Vec<T>, CtError> {
        let [views, nv, nu] = self.raw;
        if of.len() != views * nv * nu {
            return Err(CtError::Length {
                what: "projections",
                found: of.len(),
                expected: views * nv * nu,
                shape: self.raw.to_vec(),
            });
        }
        let [bv, bu] = self.bin;
        let share = match rule {
            BinRule::Mean => 1.0 / (bv * bu) as f64,
            BinRule::Sum => 1.0,
        };
        let [_, rows, columns] = self.shape();
        let mut out = Vec::with_capacity(self.views.len() * rows * columns);
        for view in &self.views {
            for iv in 0..rows {
                for iu in 0..columns {
                    let mut sum = 0.0;
                    for v in 0..bv {
                        let row = (view * nv + self.v.start + iv * bv + v) * nu;
                        let first = row + self.u.start + iu * bu;
                        sum += of[first..first + bu].iter().map(|x| x.wide()).sum::<f64>();
                    }
                    out.push(T::narrow(sum * share));
                }
            }
        }
        Ok(out)
    }
}

/// The surface after views changed: an arc about the source stays the arc that it was.
fn kept(panel: Panel, before: &[View], after: &[View]) -> Result<Surface, CtError> {
    if panel.surface != (Surface::Cylinder { radius: None }) {
        return Ok(panel.surface);
    }
    let radii: Vec<f64> = before.iter().map(plane_distance).collect();
    let near = |a: f64, b: f64| (a - b).abs() <= RADIUS * a.abs();
    if after.iter().zip(&radii).all(|(view, r)| near(*r, plane_distance(view))) {
        return Ok(panel.surface);
    }
    if radii.iter().all(|r| near(radii[0], *r)) {
        return Ok(Surface::Cylinder { radius: Some(radii[0]) });
    }
    let what = "is needed: the distances from source to detector differ from view to view";
    Err(CtError::key("detector_radius_mm", what))
}

impl Geometry {
    /// The detector shifted along its own v and u.
    ///
    /// # Units
    /// `[v, u]` in mm.
    ///
    /// # Errors
    /// A shift along v in the plane, numbers that are not finite, a source on the detector.
    pub fn with_detector_offset(&self, offset: [f64; 2]) -> Result<Self, CtError> {
        let [along_v, along_u] = offset;
        if self.kind().dimensions() == 2 && along_v != 0.0 {
            let what = "has one number [u] in the plane";
            return Err(CtError::key("detector_offset_mm", what));
        }
        let panel = self.panel();
        let shift = |view: &View| {
            let iu = (panel.nu as f64 - 1.0) / 2.0 + along_u / super::norm(view.u);
            let iv = (panel.nv as f64 - 1.0) / 2.0 + along_v / super::norm(view.v);
            view.recentred(panel, iu, iv)
        };
        let after: Vec<View> = self.views().iter().map(shift).collect();
        let surface = kept(panel, self.views(), &after)?;
        self.rebuilt(self.detector(), after, surface)
    }

    /// The detector turned about its centre.
    ///
    /// # Units
    /// `[in the plane, about u, about v]` in rad, right-handed; the turn about v comes
    /// first.
    ///
    /// # Errors
    /// Turns out of the plane of a fan, turns that put the source on the detector.
    pub fn with_detector_tilt(&self, tilt: [f64; 3]) -> Result<Self, CtError> {
        if self.kind().dimensions() == 2 && (tilt[0] != 0.0 || tilt[1] != 0.0) {
            let what = "has one number in the plane, the turn about v";
            return Err(CtError::key("detector_tilt_deg", what));
        }
        let turned = |view: &View| {
            let turn = RigidTransform::rotation;
            let motion = turn(cross(view.u, view.v), tilt[0])?
                * turn(view.u, tilt[1])?
                * turn(view.v, tilt[2])?;
            let v = motion.vector(view.v);
            Ok(View { u: motion.vector(view.u), v, ..*view })
        };
        let after = self.views().iter().map(turned).collect::<Result<Vec<View>, CtError>>()?;
        let surface = kept(self.panel(), self.views(), &after)?;
        self.rebuilt(self.detector(), after, surface)
    }

    /// What a reduction keeps of this geometry.
    ///
    /// # Errors
    /// As [`Reduction::geometry`].
    pub fn reduced(&self, by: &Reduction) -> Result<Self, CtError> {
        by.geometry(self)
    }
}
