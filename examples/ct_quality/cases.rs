//! Scans of which the truth is known: exact projections of ellipses, averaged over pixels,
//! with Poisson counts.

use microtome::kernels::philox::PhiloxRng;
use microtome::models::ct::{
    Ellipse, EllipsePhantom, Geometry, GeometryKind, TrajectorySpec, VolumeGrid,
};
use rand_distr::{Distribution, Poisson};

/// What a phantom is made of.
#[derive(Clone, Copy)]
pub(crate) enum Phantom {
    SheppLogan,
    /// Many discs of random size, place and value.
    Discs,
    /// A disc that falls off smoothly (50 rings) with a few ellipses in it.
    Smooth,
}

impl Phantom {
    fn ellipses(self, half: f64) -> EllipsePhantom {
        let ellipse = |[value, a, b, x, y, angle_deg]: [f64; 6]| Ellipse {
            value,
            axes_mm: [a * half, b * half],
            centre_mm: [x * half, y * half],
            angle_deg,
        };
        let rows: Vec<[f64; 6]> = match self {
            Phantom::SheppLogan => return EllipsePhantom::shepp_logan(half),
            Phantom::Discs => {
                let number = |k: usize| ((k * 7919 + 13) % 101) as f64 / 101.0;
                let disc = |k: usize| {
                    let r = 0.02 + 0.08 * number(3 * k);
                    let at = 0.8 * number(3 * k + 1).sqrt();
                    let angle = 2.399_963 * k as f64;
                    let v = 0.1 + 0.4 * number(3 * k + 2);
                    let v = if k.is_multiple_of(3) { -0.3 * v } else { v };
                    [v, r, r, at * angle.cos(), at * angle.sin(), 0.0]
                };
                std::iter::once([0.3, 0.9, 0.9, 0.0, 0.0, 0.0]).chain((0..40).map(disc)).collect()
            }
            Phantom::Smooth => {
                let ring = |k: i32| {
                    let r = 0.9 * f64::from(k) / 50.0;
                    [0.016, r, r, 0.0, 0.0, 0.0]
                };
                let things = [
                    [0.2, 0.1, 0.2, 0.3, 0.3, 30.0],
                    [-0.2, 0.2, 0.05, -0.3, 0.2, 10.0],
                    [0.1, 0.15, 0.15, -0.1, -0.4, 0.0],
                ];
                (1..=50).map(ring).chain(things).collect()
            }
        };
        EllipsePhantom::new(rows.into_iter().map(ellipse).collect())
    }
}

/// A scan.
#[derive(Clone, Copy)]
pub(crate) struct Scan {
    pub(crate) phantom: Phantom,
    /// Voxels along an axis, and pixels of the detector.
    pub(crate) size: usize,
    pub(crate) views: usize,
    pub(crate) range_deg: f64,
    /// Photons of an open pixel.
    pub(crate) i0: f64,
    /// Attenuation of the value 1 over a voxel.
    pub(crate) mu: f64,
    pub(crate) seed: u64,
}

/// Projections with noise, where the rays run, and the truth.
pub(crate) struct Case {
    pub(crate) geometry: Geometry,
    pub(crate) volume: VolumeGrid,
    pub(crate) truth: Vec<f64>,
    pub(crate) projections: Vec<f32>,
    /// Inverse variances of the projections by the counts.
    pub(crate) weights: Vec<f32>,
}

impl Scan {
    pub(crate) fn case(&self) -> Result<Case, Box<dyn std::error::Error>> {
        let phantom = self.phantom.ellipses(self.size as f64 / 2.0);
        let mut path = TrajectorySpec::circular(self.views, &[1.0]);
        path.range_deg = Some(self.range_deg);
        let geometry = path.geometry(GeometryKind::Parallel2d, [1, self.size])?;
        let volume = VolumeGrid::new(&[self.size; 2], &[1.0; 2], &[0.0; 2])?;
        let truth = phantom.voxel_means(&volume, 16)?;
        let (mut projections, mut weights) = (Vec::new(), Vec::new());
        let mut random = PhiloxRng::new(self.seed, 1, 1);
        for exact in phantom.pixel_means(&geometry)? {
            let mean = self.i0 * (-self.mu * exact).exp();
            let counts = Poisson::new(mean)?.sample(&mut random).max(1.0);
            projections.push((-(counts / self.i0).ln() / self.mu) as f32);
            weights.push((self.mu * self.mu * counts) as f32);
        }
        Ok(Case { geometry, volume, truth, projections, weights })
    }
}
