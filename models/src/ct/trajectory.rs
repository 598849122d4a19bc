//! Paths of source and detector as rows of vectors.
//!
//! View $k$ of $n$ has the angle $\theta_k = \theta_0 + \phi_k$, $\phi_k = k\Delta/n$ (the end
//! of the range is not reached), the frame
//!
//! $$\hat u = (\cos\theta,\sin\theta,0),\quad f = \cos\tau\,(-\sin\theta,\cos\theta,0) + \sin\tau\,\hat z,
//!   \quad \hat v = -\sin\tau\,(-\sin\theta,\cos\theta,0) + \cos\tau\,\hat z,$$
//!
//! the source at $-Rf + z_k\hat z$ and the centre of the detector at
//! $Df + z_k\hat z + o_u\hat u + o_v\hat v$; source and detector move along z together.
//! A curved detector of radius $\rho$ has its centre moved along the arc by $o_u$, and
//! $\hat u$ turned with it. A parallel beam has the ray $-f$ (ASTRA's sign) and $D = 0$.
//!
//! | kind | $z_k$ | |
//! |---|---|---|
//! | `circular` | 0 | with a tilt $\tau$: laminography |
//! | `helical` | $P(\phi_k - \bar\phi)/2\pi$ | $P$ mm a turn; the middle of the path is at 0 |
//! | `sinusoidal` | $A\sin(m\phi_k)$ | $m$ periods a turn; $R$ and $D$ become $R + r_k$ and $D - r_k$, $r_k = A_r\sin(m\phi_k)$; for parallel beams $o_u$ becomes $o_u + A_o\sin(m\phi_k)$ |
//! | `saddle` | $A\cos(2\phi_k)$ | $r_k = A_r\sin(2\phi_k)$ |
//! | `random` | 0 | $\theta$ uniform, and in space $\sin\tau$ too: directions uniform on the sphere |
//! | `perturbed` | 0 | a circle with normal errors: $r_k$ (`distance_sd_mm`), every coordinate of source and detector (`position_sd_mm`), the detector turned about $\hat v$ (`angle_sd_deg`) |
//!
//! These are the paths of diffct (its `spiral` is `helical`); any other is given by
//! [`Geometry::of_sources`], [`Geometry::of_rays`] or [`Geometry::new`].
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\theta, \tau$ | rad (degrees in files) | angle of the gantry, tilt of the beam |
//! | $R, D$ | mm | source to axis, axis to detector |
//! | $o$ | mm | offset of the detector |
//!
//! Source: the angle is that of ASTRA's angle geometries (van Aarle et al. 2016,
//! doi:10.1364/OE.24.025129); saddle: Pack, Noo & Kudo 2004,
//! doi:10.1088/0031-9155/49/11/009; paths of diffct: `diffct.geometry` 2.5.0. Validated by
//! `paths_of_diffct` in `models/tests/suite/trajectories.rs`, `trajectories_equal_reference_rows` in
//! `models/tests/suite/ct.rs` and by the tests below.

use super::{CtError, Geometry, GeometryKind, cross};
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Surface;
use rand::RngExt;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// Most views that are believed.
const VIEWS_MAX: usize = 1 << 24;
/// The stream of random directions.
const STREAM: u8 = 0;

/// Which path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrajectoryKind {
    /// A circle about z.
    Circular,
    /// A screw about z.
    Helical,
    /// A circle that goes up and down.
    Sinusoidal,
    /// Two periods a turn, highest at the start.
    Saddle,
    /// Directions drawn at random.
    Random,
    /// A circle with errors drawn at random.
    Perturbed,
}

/// A path as written in a file. Keys that the kind does not use are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrajectorySpec {
    /// Which path.
    pub kind: TrajectoryKind,
    /// Number of views.
    pub views: usize,
    /// Range of the angle, degrees; 180 for parallel beams and 360 for others where left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_deg: Option<f64>,
    /// Angle of the first view, degrees; 0 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_deg: Option<f64>,
    /// Pixel pitch `[dv, du]`, in the plane `[du]`.
    pub pixel_mm: Vec<f64>,
    /// Distance from source to axis, fans and cones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_to_axis_mm: Option<f64>,
    /// Distance from axis to detector, fans and cones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis_to_detector_mm: Option<f64>,
    /// Offset of the detector `[v, u]`, in the plane `[u]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector_offset_mm: Option<Vec<f64>>,
    /// Tilt of the beam out of the plane, degrees, in space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tilt_deg: Option<f64>,
    /// Advance a turn (helical).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pitch_mm: Option<f64>,
    /// Greatest displacement along z (sinusoidal, saddle).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amplitude_mm: Option<f64>,
    /// Periods a turn (sinusoidal); 1 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periods: Option<f64>,
    /// Angles of the views in degrees, in place of `range_deg` and `start_deg`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub angles_deg: Option<Vec<f64>>,
    /// Greatest change of the distance from source to axis, that to the detector being
    /// kept (sinusoidal, saddle; fans and cones).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radial_amplitude_mm: Option<f64>,
    /// Greatest shift of the detector along u (sinusoidal; parallel beams).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_amplitude_mm: Option<f64>,
    /// Standard deviation of the distance from source to axis (perturbed; fans and cones).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance_sd_mm: Option<f64>,
    /// Standard deviation of each coordinate of source and detector (perturbed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_sd_mm: Option<f64>,
    /// Standard deviation of the angle of the detector about v (perturbed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub angle_sd_deg: Option<f64>,
    /// Seed (random, perturbed); 0 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl TrajectorySpec {
    /// A circle with default angles; distances and the rest may be set on the value.
    pub fn circular(views: usize, pixel_mm: &[f64]) -> Self {
        Self {
            kind: TrajectoryKind::Circular,
            views,
            range_deg: None,
            start_deg: None,
            pixel_mm: pixel_mm.to_vec(),
            source_to_axis_mm: None,
            axis_to_detector_mm: None,
            detector_offset_mm: None,
            tilt_deg: None,
            pitch_mm: None,
            amplitude_mm: None,
            periods: None,
            angles_deg: None,
            radial_amplitude_mm: None,
            offset_amplitude_mm: None,
            distance_sd_mm: None,
            position_sd_mm: None,
            angle_sd_deg: None,
            seed: None,
        }
    }

    /// The geometry of this path.
    ///
    /// # Shapes
    /// `detector` `[nv, nu]`.
    ///
    /// # Errors
    /// Keys that the kind needs and are not there, or does not use and are there;
    /// numbers that are not finite or out of range.
    pub fn geometry(&self, kind: GeometryKind, detector: [usize; 2]) -> Result<Geometry, CtError> {
        self.geometry_on(kind, detector, Surface::Flat)
    }

    /// The geometry of this path with a detector of another surface. An offset along u
    /// goes along the arc.
    ///
    /// # Errors
    /// As [`Self::geometry`] and [`Geometry::with_surface`].
    pub fn geometry_on(
        &self,
        kind: GeometryKind,
        detector: [usize; 2],
        surface: Surface,
    ) -> Result<Geometry, CtError> {
        let mut path = self.checked(kind)?;
        if let Surface::Cylinder { radius } = surface {
            path.radius = Some(radius.unwrap_or(path.source + path.detector));
        }
        let mut rows = Vec::with_capacity(self.views * kind.width());
        for k in 0..self.views {
            path.row(kind, k, &mut rows);
        }
        Geometry::new(kind, detector, &rows)?.with_surface(surface)
    }

    fn checked(&self, kind: GeometryKind) -> Result<Path, CtError> {
        use TrajectoryKind::{Circular, Helical, Perturbed, Random, Saddle, Sinusoidal};
        let space = kind.dimensions() == 3;
        let word = match self.kind {
            Circular => "circular",
            Helical => "helical",
            Sinusoidal => "sinusoidal",
            Saddle => "saddle",
            Random => "random",
            Perturbed => "perturbed",
        };
        if !space && matches!(self.kind, Helical | Saddle) {
            let what = format!("{word} leaves the plane of {}", kind.name());
            return Err(CtError::key("trajectory.kind", what));
        }
        if self.views == 0 || self.views > VIEWS_MAX {
            let what = format!("{}; from 1 to {VIEWS_MAX} are possible", self.views);
            return Err(CtError::key("trajectory.views", what));
        }
        let waves = matches!(self.kind, Sinusoidal | Saddle);
        let distances = !kind.is_parallel();
        let turns = self.kind != Random;
        let (even, errs) = (turns && self.angles_deg.is_none(), self.kind == Perturbed);
        let sine = self.kind == Sinusoidal;
        let radial = self.radial_amplitude_mm.is_none();
        for (key, given, used, needed) in [
            ("trajectory.range_deg", self.range_deg, even, false),
            ("trajectory.start_deg", self.start_deg, even, false),
            ("trajectory.tilt_deg", self.tilt_deg, space && turns, false),
            ("trajectory.source_to_axis_mm", self.source_to_axis_mm, distances, true),
            ("trajectory.axis_to_detector_mm", self.axis_to_detector_mm, distances, true),
            ("trajectory.pitch_mm", self.pitch_mm, self.kind == Helical, true),
            ("trajectory.radial_amplitude_mm", self.radial_amplitude_mm, waves && distances, false),
            (
                "trajectory.offset_amplitude_mm",
                self.offset_amplitude_mm,
                sine && !distances,
                !space,
            ),
            (
                "trajectory.amplitude_mm",
                self.amplitude_mm,
                waves && space,
                self.kind == Saddle || (radial && self.offset_amplitude_mm.is_none()),
            ),
            ("trajectory.periods", self.periods, sine, false),
            ("trajectory.distance_sd_mm", self.distance_sd_mm, errs && distances, false),
            ("trajectory.position_sd_mm", self.position_sd_mm, errs, false),
            ("trajectory.angle_sd_deg", self.angle_sd_deg, errs, false),
        ] {
            match given {
                Some(v) if !v.is_finite() => {
                    return Err(CtError::key(key, format!("{v}; a finite number is needed")));
                }
                Some(_) if !used => {
                    let what = format!("has no meaning for a {word} path of {}", kind.name());
                    return Err(CtError::key(key, what));
                }
                None if used && needed => {
                    let what = format!("is missing: a {word} path of {} needs it", kind.name());
                    return Err(CtError::key(key, what));
                }
                _ => {}
            }
        }
        if self.kind == Sinusoidal && kind == GeometryKind::Fan2d && radial {
            let what = "is missing: a sinusoidal path of fan2d needs it";
            return Err(CtError::key("trajectory.radial_amplitude_mm", what));
        }
        if self.seed.is_some() && turns && !errs {
            let what = "only random and perturbed paths have a seed";
            return Err(CtError::key("trajectory.seed", what));
        }
        let errors = [self.distance_sd_mm, self.position_sd_mm, self.angle_sd_deg];
        if errs && !errors.iter().flatten().any(|sd| *sd > 0.0) {
            let what = "a perturbed path needs a positive distance_sd_mm, position_sd_mm or \
                        angle_sd_deg";
            return Err(CtError::key("trajectory.kind", what));
        }
        if errors.iter().flatten().any(|sd| *sd < 0.0) {
            let what = "standard deviations of errors are not negative";
            return Err(CtError::key("trajectory.kind", what));
        }
        if let Some(angles) = &self.angles_deg {
            if !turns {
                let what = "has no meaning for a random path";
                return Err(CtError::key("trajectory.angles_deg", what));
            }
            if angles.len() != self.views || angles.iter().any(|a| !a.is_finite()) {
                let what = format!("{} angles for {} views", angles.len(), self.views);
                let what = format!("{what}; one finite number for each is needed");
                return Err(CtError::key("trajectory.angles_deg", what));
            }
        }
        let axes = kind.dimensions() - 1;
        let offset = self.detector_offset_mm.clone().unwrap_or_else(|| vec![0.0; axes]);
        let lists =
            [("trajectory.pixel_mm", &self.pixel_mm), ("trajectory.detector_offset_mm", &offset)];
        for (key, list) in lists {
            if list.len() != axes || list.iter().any(|v| !v.is_finite()) {
                let form = if space { "[v, u]" } else { "[u]" };
                let what = format!("{list:?}; {axes} finite number(s) {form} are needed");
                return Err(CtError::key(key, what));
            }
        }
        if let Some(d) = self.pixel_mm.iter().find(|d| **d <= 0.0) {
            let what = format!("{d}; the pixel pitch is positive");
            return Err(CtError::key("trajectory.pixel_mm", what));
        }
        if let Some(r) = self.source_to_axis_mm.filter(|r| *r <= 0.0) {
            let what = format!("{r}; the distance is positive");
            return Err(CtError::key("trajectory.source_to_axis_mm", what));
        }
        let last = |list: &[f64]| list.last().copied().unwrap_or(0.0);
        let first = |list: &[f64]| if space { list[0] } else { 0.0 };
        let full = if kind.is_parallel() { 180.0 } else { 360.0 };
        let range = self.range_deg.unwrap_or(full).to_radians();
        let angles = self.angles_deg.as_deref().unwrap_or(&[]);
        let angles: Vec<f64> = angles.iter().map(|a| a.to_radians()).collect();
        let middle = match (angles.first(), angles.last()) {
            (Some(a), Some(b)) => (a + b) / 2.0,
            _ => range * (self.views as f64 - 1.0) / (2.0 * self.views as f64),
        };
        let error = |sd: Option<f64>| sd.unwrap_or(0.0);
        Ok(Path {
            kind: self.kind,
            start: self.start_deg.unwrap_or(0.0).to_radians(),
            step: range / self.views as f64,
            middle,
            angles,
            tilt: self.tilt_deg.unwrap_or(0.0).to_radians(),
            source: self.source_to_axis_mm.unwrap_or(0.0),
            detector: self.axis_to_detector_mm.unwrap_or(0.0),
            pixel: [last(&self.pixel_mm), first(&self.pixel_mm)],
            offset: [last(&offset), first(&offset)],
            radius: None,
            rise: self.pitch_mm.or(self.amplitude_mm).unwrap_or(0.0),
            periods: self.periods.unwrap_or(1.0),
            radial: self.radial_amplitude_mm.unwrap_or(0.0),
            swing: self.offset_amplitude_mm.unwrap_or(0.0),
            errors: [
                error(self.distance_sd_mm),
                error(self.position_sd_mm),
                error(self.angle_sd_deg).to_radians(),
            ],
            seed: self.seed.unwrap_or(0),
            space,
        })
    }
}

/// A path with all its numbers; pairs are (u, v).
struct Path {
    kind: TrajectoryKind,
    start: f64,
    step: f64,
    middle: f64,
    tilt: f64,
    source: f64,
    detector: f64,
    pixel: [f64; 2],
    offset: [f64; 2],
    /// Of a curved detector.
    radius: Option<f64>,
    rise: f64,
    periods: f64,
    /// Amplitudes of the distance and of the offset.
    radial: f64,
    swing: f64,
    /// Standard deviations: distance, position, angle.
    errors: [f64; 3],
    /// In place of start and step.
    angles: Vec<f64>,
    seed: u64,
    space: bool,
}

impl Path {
    fn row(&self, kind: GeometryKind, k: usize, out: &mut Vec<f64>) {
        let phi = self.angles.get(k).copied().unwrap_or(k as f64 * self.step);
        let (mut theta, mut tilt) = (self.start + phi, self.tilt);
        // Along z, along the beam, along u.
        let (mut z, mut radial, mut swing) = (0.0, 0.0, 0.0);
        let mut rng = PhiloxRng::new(self.seed, k as u64, STREAM);
        match self.kind {
            TrajectoryKind::Circular => {}
            TrajectoryKind::Helical => z = self.rise * (phi - self.middle) / TAU,
            TrajectoryKind::Sinusoidal => {
                let wave = (self.periods * phi).sin();
                (z, radial, swing) = (self.rise * wave, self.radial * wave, self.swing * wave);
            }
            TrajectoryKind::Saddle => {
                let (sine, cosine) = (2.0 * phi).sin_cos();
                (z, radial) = (self.rise * cosine, self.radial * sine);
            }
            TrajectoryKind::Random => {
                theta = TAU * rng.random::<f64>();
                tilt = if self.space { (2.0 * rng.random::<f64>() - 1.0).asin() } else { 0.0 };
            }
            TrajectoryKind::Perturbed => {
                radial = self.errors[0] * rng.sample::<f64, _>(StandardNormal);
            }
        }
        let ((s, c), (st, ct)) = (theta.sin_cos(), tilt.sin_cos());
        let u = [c, s, 0.0];
        let f = [-s * ct, c * ct, st];
        let v = [s * st, -c * st, ct];
        let lift = [0.0, 0.0, z];
        let offset = [self.offset[0] + swing, self.offset[1]];
        let mut first: [f64; 3] = std::array::from_fn(|i| {
            if kind.is_parallel() { -f[i] } else { lift[i] - (self.source + radial) * f[i] }
        });
        let mut detector: [f64; 3] = std::array::from_fn(|i| {
            lift[i] + (self.detector - radial) * f[i] + offset[0] * u[i] + offset[1] * v[i]
        });
        let mut steps = [u.map(|x| x * self.pixel[0]), v.map(|x| x * self.pixel[1])];
        if let Some(radius) = self.radius.filter(|_| offset[0] != 0.0) {
            let (sine, cosine) = (offset[0] / radius).sin_cos();
            for i in 0..3 {
                detector[i] += (radius * sine - offset[0]) * u[i];
                detector[i] -= radius * (1.0 - cosine) * f[i];
                steps[0][i] = self.pixel[0] * (cosine * u[i] - sine * f[i]);
            }
        }
        if self.kind == TrajectoryKind::Perturbed {
            let mut error = |sd: f64| sd * rng.sample::<f64, _>(StandardNormal);
            let axes = kind.dimensions();
            for i in 0..axes {
                detector[i] += error(self.errors[1]);
                let moved = error(self.errors[1]);
                first[i] += if kind.is_parallel() { 0.0 } else { moved };
            }
            let (sine, cosine) = error(self.errors[2]).sin_cos();
            let across = cross(v, steps[0]);
            for i in 0..3 {
                steps[0][i] = cosine * steps[0][i] + sine * across[i];
            }
        }
        let d = kind.dimensions();
        for part in [first, detector].iter().chain(&steps[..d - 1]) {
            out.extend_from_slice(&part[..d]);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use microtome_kernels::ray::Beam;

    fn cone() -> TrajectorySpec {
        TrajectorySpec {
            source_to_axis_mm: Some(200.0),
            axis_to_detector_mm: Some(100.0),
            ..TrajectorySpec::circular(16, &[2.0, 1.5])
        }
    }

    fn source(g: &Geometry, k: usize) -> [f64; 3] {
        let (Beam::Parallel(p) | Beam::Source(p)) = g.views()[k].beam;
        p
    }

    #[test]
    fn paths_rise_as_they_should() {
        let build = |spec: &TrajectorySpec| spec.geometry(GeometryKind::Cone3d, [4, 5]).unwrap();
        let mut spec = cone();
        let g = build(&spec);
        assert_eq!(source(&g, 0), [0.0, -200.0, 0.0]);
        assert!((g.views()[4].detector[0] + 100.0).abs() < 1e-12);
        spec.kind = TrajectoryKind::Saddle;
        spec.amplitude_mm = Some(7.0);
        let g = build(&spec);
        for (k, z) in [(0, 7.0), (4, -7.0), (8, 7.0), (12, -7.0)] {
            assert!((source(&g, k)[2] - z).abs() < 1e-12);
        }
        spec.kind = TrajectoryKind::Sinusoidal;
        spec.periods = Some(2.0);
        assert!((source(&build(&spec), 2)[2] - 7.0).abs() < 1e-12);
        // A tilted beam: distances and right angles stay.
        let mut spec = cone();
        spec.tilt_deg = Some(30.0);
        let g = build(&spec);
        let s = source(&g, 3);
        assert!((s[2] + 100.0).abs() < 1e-12);
        assert!((super::super::norm(s) - 200.0).abs() < 1e-12);
        let v = g.views()[3];
        assert!(super::super::dot(s, v.v).abs() < 1e-12 && super::super::dot(s, v.u).abs() < 1e-12);
    }

    #[test]
    fn random_directions_are_uniform_and_repeat() {
        let mut spec = TrajectorySpec::circular(4000, &[1.0, 1.0]);
        spec.kind = TrajectoryKind::Random;
        spec.seed = Some(3);
        let g = spec.geometry(GeometryKind::Parallel3d, [4, 5]).unwrap();
        assert_eq!(g, spec.geometry(GeometryKind::Parallel3d, [4, 5]).unwrap());
        // Second moments of a uniform direction are 1/3, their standard error 0.0047.
        for i in 0..3 {
            let mean: f64 = (0..4000).map(|k| source(&g, k)[i].powi(2)).sum::<f64>() / 4000.0;
            assert!((mean - 1.0 / 3.0).abs() < 0.02, "{mean}");
        }
        let flat = TrajectorySpec { pixel_mm: vec![1.0], ..spec };
        assert!(flat.geometry(GeometryKind::Parallel2d, [1, 5]).is_ok());
    }

    #[test]
    fn wrong_keys_are_named() {
        let says = |spec: &TrajectorySpec, kind, text: &str| {
            let found = spec.geometry(kind, [1, 5]).unwrap_err().to_string();
            assert!(found.contains(text), "{found}");
        };
        let c = GeometryKind::Cone3d;
        says(&cone(), GeometryKind::Parallel3d, "source_to_axis_mm");
        says(&TrajectorySpec { source_to_axis_mm: None, ..cone() }, c, "source_to_axis_mm");
        says(&TrajectorySpec { source_to_axis_mm: Some(-1.0), ..cone() }, c, "positive");
        says(&TrajectorySpec { pitch_mm: Some(1.0), ..cone() }, c, "pitch_mm");
        says(&TrajectorySpec { seed: Some(1), ..cone() }, c, "seed");
        says(&TrajectorySpec { views: 0, ..cone() }, c, "views");
        says(&TrajectorySpec { views: usize::MAX, ..cone() }, c, "views");
        says(&TrajectorySpec { pixel_mm: vec![1.0], ..cone() }, c, "pixel_mm");
        says(&TrajectorySpec { pixel_mm: vec![1.0, 0.0], ..cone() }, c, "pixel_mm");
        says(&TrajectorySpec { start_deg: Some(f64::NAN), ..cone() }, c, "start_deg");
        let helix = TrajectorySpec { kind: TrajectoryKind::Helical, ..cone() };
        says(&helix, c, "pitch_mm");
        says(&helix, GeometryKind::Fan2d, "leaves the plane");
    }
}
