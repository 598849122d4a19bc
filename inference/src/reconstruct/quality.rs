//! How far an image is from the truth.
//!
//! $$\mathrm{PSNR} = 10\log_{10}\frac{R^2}{\overline{(x-t)^2}},\qquad
//!   \mathrm{SSIM} = \overline{\frac{(2\mu_x\mu_t+c_1)(2\sigma_{xt}+c_2)}
//!   {(\mu_x^2+\mu_t^2+c_1)(\sigma_x^2+\sigma_t^2+c_2)}}$$
//!
//! with means, variances and covariance over windows of 7 voxels along every axis, all
//! weights equal, divided by one less than their number, and $c_1 = (0.01R)^2$,
//! $c_2 = (0.03R)^2$; the mean is over the windows that lie inside the image. This is what
//! scikit-image computes by default.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x, t$ | any | image and truth |
//! | $R$ | same | range of the truth |
//!
//! Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861. Validated by
//! `equals_scikit_image` below.

use super::ReconstructError;
use super::operator::product;
use super::vector::sum2;
use microtome_kernels::ray::Real;

/// Voxels of a window along an axis.
const WINDOW: usize = 7;

fn check<T>(image: &[T], truth: &[T], shape: &[usize]) -> Result<(), ReconstructError> {
    let expected = product(shape);
    for (what, found) in [("image", image.len()), ("truth", truth.len())] {
        if found != expected {
            let shape = shape.to_vec();
            return Err(ReconstructError::Length { what, found, expected, shape });
        }
    }
    Ok(())
}

/// Peak signal-to-noise ratio in dB for values of a given range.
///
/// # Errors
/// Arrays of unequal length.
pub fn psnr<T: Real>(image: &[T], truth: &[T], range: f64) -> Result<f64, ReconstructError> {
    check(image, truth, &[truth.len()])?;
    let square = sum2(image, truth, |a, b| (a - b) * (a - b)) / truth.len() as f64;
    Ok(10.0 * (range * range / square).log10())
}

/// Sums over windows along one axis, which becomes shorter by the window less one.
fn window_sums(values: &[f64], shape: &mut [usize], axis: usize) -> Vec<f64> {
    let before: usize = product(&shape[..axis]);
    let after: usize = product(&shape[axis + 1..]);
    let n = shape[axis];
    let left = n - WINDOW + 1;
    let mut out = vec![0.0; before * left * after];
    for b in 0..before {
        for i in 0..left {
            let out = &mut out[(b * left + i) * after..(b * left + i + 1) * after];
            for k in 0..WINDOW {
                let row = &values[(b * n + i + k) * after..(b * n + i + k + 1) * after];
                out.iter_mut().zip(row).for_each(|(o, v)| *o += v);
            }
        }
    }
    shape[axis] = left;
    out
}

fn window_means(values: Vec<f64>, shape: &[usize]) -> Vec<f64> {
    let mut shape = shape.to_vec();
    let count = WINDOW.pow(shape.len() as u32) as f64;
    let mut out = values;
    for axis in 0..shape.len() {
        out = window_sums(&out, &mut shape, axis);
    }
    out.iter_mut().for_each(|v| *v /= count);
    out
}

/// Structural similarity, 1 for equal images, of values of a given range.
///
/// # Errors
/// Arrays of another length than the shape, axes of less than seven voxels.
pub fn ssim<T: Real>(
    image: &[T],
    truth: &[T],
    shape: &[usize],
    range: f64,
) -> Result<f64, ReconstructError> {
    check(image, truth, shape)?;
    if shape.iter().any(|n| *n < WINDOW) {
        let problem = format!("{shape:?}; at least {WINDOW} voxels along every axis are needed");
        return Err(ReconstructError::setting("the shape of the image", problem));
    }
    let mean = |f: &dyn Fn(f64, f64) -> f64| {
        let values = image.iter().zip(truth).map(|(a, b)| f(a.wide(), b.wide())).collect();
        window_means(values, shape)
    };
    let (x, t) = (mean(&|a, _| a), mean(&|_, b| b));
    let (xx, tt, xt) = (mean(&|a, _| a * a), mean(&|_, b| b * b), mean(&|a, b| a * b));
    let count = WINDOW.pow(shape.len() as u32) as f64;
    let unbiased = count / (count - 1.0);
    let (c1, c2) = ((0.01 * range).powi(2), (0.03 * range).powi(2));
    let one = |i: usize| {
        let (mx, mt) = (x[i], t[i]);
        let vx = unbiased * (xx[i] - mx * mx);
        let vt = unbiased * (tt[i] - mt * mt);
        let vxt = unbiased * (xt[i] - mx * mt);
        (2.0 * mx * mt + c1) * (2.0 * vxt + c2) / ((mx * mx + mt * mt + c1) * (vx + vt + c2))
    };
    Ok((0..x.len()).map(one).sum::<f64>() / x.len() as f64)
}
