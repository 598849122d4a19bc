//! Cases of which the truth is known: exact projections of ellipses, averaged over pixels,
//! with Poisson counts.

use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Projector;
use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
use rand_distr::{Distribution, Poisson};

/// value, a, b, x0, y0, angle in degrees; in units of half the image.
pub type Ellipse = [f64; 6];

/// The modified Shepp-Logan phantom (Toft 1996).
pub const SHEPP_LOGAN: [Ellipse; 10] = [
    [1.0, 0.69, 0.92, 0.0, 0.0, 0.0],
    [-0.8, 0.6624, 0.874, 0.0, -0.0184, 0.0],
    [-0.2, 0.11, 0.31, 0.22, 0.0, -18.0],
    [-0.2, 0.16, 0.41, -0.22, 0.0, 18.0],
    [0.1, 0.21, 0.25, 0.0, 0.35, 0.0],
    [0.1, 0.046, 0.046, 0.0, 0.1, 0.0],
    [0.1, 0.046, 0.046, 0.0, -0.1, 0.0],
    [0.1, 0.046, 0.023, -0.08, -0.605, 0.0],
    [0.1, 0.023, 0.023, 0.0, -0.606, 0.0],
    [0.1, 0.023, 0.046, 0.06, -0.605, 0.0],
];

/// What a phantom is made of.
#[derive(Clone, Copy)]
pub enum Phantom {
    SheppLogan,
    /// Many discs of random size, place and value.
    Discs,
    /// A disc that falls off smoothly (50 rings) with a few discs in it.
    Smooth,
}

impl Phantom {
    pub fn ellipses(self) -> Vec<Ellipse> {
        match self {
            Phantom::SheppLogan => SHEPP_LOGAN.to_vec(),
            Phantom::Discs => {
                let mut out = vec![[0.3, 0.9, 0.9, 0.0, 0.0, 0.0]];
                let value = |k: usize| ((k * 7919 + 13) % 101) as f64 / 101.0;
                for k in 0..40 {
                    let r = 0.02 + 0.08 * value(3 * k);
                    let at = 0.8 * value(3 * k + 1).sqrt();
                    let angle = 2.399_963 * k as f64;
                    let v = 0.1 + 0.4 * value(3 * k + 2);
                    let v = if k % 3 == 0 { -0.3 * v } else { v };
                    out.push([v, r, r, at * angle.cos(), at * angle.sin(), 0.0]);
                }
                out
            }
            Phantom::Smooth => {
                let rings = (1..=50).map(|k| {
                    let r = 0.9 * f64::from(k) / 50.0;
                    [0.016, r, r, 0.0, 0.0, 0.0]
                });
                let mut out: Vec<Ellipse> = rings.collect();
                out.push([0.2, 0.1, 0.2, 0.3, 0.3, 30.0]);
                out.push([-0.2, 0.2, 0.05, -0.3, 0.2, 10.0]);
                out.push([0.1, 0.15, 0.15, -0.1, -0.4, 0.0]);
                out
            }
        }
    }
}

/// A scan.
#[derive(Clone, Copy)]
pub struct Scan {
    pub phantom: Phantom,
    /// Voxels along an axis, and pixels of the detector.
    pub size: usize,
    pub views: usize,
    pub range_deg: f64,
    /// Photons of an open pixel.
    pub i0: f64,
    /// Attenuation of the value 1 over a voxel.
    pub mu: f64,
    pub seed: u64,
}

/// Truth, projections with noise and inverse variances, and the operator.
pub struct Case {
    pub size: usize,
    pub truth: Vec<f32>,
    pub projections: Vec<f32>,
    pub weights: Vec<f32>,
    pub operator: RayTransform,
}

fn mean_over_pixel(ellipses: &[Ellipse], half: f64, d: [f64; 2], t: f64) -> f64 {
    let u = [-d[1], d[0]];
    // Along u = (-d_y, d_x) turned to the set-up's u; the caller gives t along it.
    ellipses
        .iter()
        .map(|[value, a, b, x0, y0, deg]| {
            let (s, c) = deg.to_radians().sin_cos();
            let along = |v: [f64; 2]| [v[0] * c + v[1] * s, v[1] * c - v[0] * s];
            let [ux, uy] = along(u);
            let (a, b) = (a * half, b * half);
            let r2 = (a * ux).powi(2) + (b * uy).powi(2);
            let r = r2.sqrt();
            let centre = half * (x0 * u[0] + y0 * u[1]);
            let part = |t: f64| {
                let t = (t - centre).clamp(-r, r);
                0.5 * (t * (r2 - t * t).max(0.0).sqrt() + r2 * (t / r).asin())
            };
            2.0 * value * a * b / r2 * (part(t + 0.5) - part(t - 0.5))
        })
        .sum()
}

/// The mean of every voxel over 16 x 16 points.
pub fn cell_means(ellipses: &[Ellipse], size: usize) -> Vec<f32> {
    let half = size as f64 / 2.0;
    let mut out = Vec::with_capacity(size * size);
    for i in 0..size * size {
        let (ix, iy) = ((i % size) as f64, (i / size) as f64);
        let mut sum = 0.0;
        for k in 0..256 {
            let at = |i: f64, k: usize| (i + (k as f64 + 0.5) / 16.0 - half) / half;
            let (x, y) = (at(ix, k % 16), at(iy, k / 16));
            for [value, a, b, x0, y0, deg] in ellipses {
                let (s, c) = deg.to_radians().sin_cos();
                let (dx, dy) = (x - x0, y - y0);
                let (p, q) = ((dx * c + dy * s) / a, (dy * c - dx * s) / b);
                if p * p + q * q <= 1.0 {
                    sum += value;
                }
            }
        }
        out.push((sum / 256.0) as f32);
    }
    out
}

impl Scan {
    pub fn case(&self) -> Result<Case, Box<dyn std::error::Error>> {
        let ellipses = self.phantom.ellipses();
        let half = self.size as f64 / 2.0;
        let mut path = TrajectorySpec::circular(self.views, &[1.0]);
        path.range_deg = Some(self.range_deg);
        let geometry = path.geometry(GeometryKind::Parallel2d, [1, self.size])?;
        let (mut projections, mut weights) = (Vec::new(), Vec::new());
        let mut random = PhiloxRng::new(self.seed, 1, 1);
        for k in 0..self.views {
            let angle = (self.range_deg * k as f64 / self.views as f64).to_radians();
            // u = (cos, sin), the ray its right angle.
            let d = [angle.sin(), -angle.cos()];
            for i in 0..self.size {
                let t = i as f64 - (self.size as f64 - 1.0) / 2.0;
                let exact = mean_over_pixel(&ellipses, half, d, t);
                let mean = self.i0 * (-self.mu * exact).exp();
                let counts = Poisson::new(mean)?.sample(&mut random).max(1.0);
                projections.push((-(counts / self.i0).ln() / self.mu) as f32);
                weights.push((self.mu * self.mu * counts) as f32);
            }
        }
        let shape = [self.size, self.size];
        let volume = VolumeGrid::new(&shape, &[1.0; 2], &[0.0; 2])?;
        let operator = RayTransform::new(geometry, volume, Projector::Joseph)?;
        let truth = cell_means(&ellipses, self.size);
        Ok(Case { size: self.size, truth, projections, weights, operator })
    }
}
