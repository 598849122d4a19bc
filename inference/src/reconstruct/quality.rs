//! How near an image is to the truth: PSNR and SSIM.
//!
//! $$\mathrm{PSNR} = 10\log_{10}\frac{L^2}{\overline{(x-t)^2}},\qquad
//!   \mathrm{SSIM} = \overline{\frac{(2\mu_x\mu_t + C_1)(2\sigma_{xt} + C_2)}
//!     {(\mu_x^2+\mu_t^2 + C_1)(\sigma_x^2 + \sigma_t^2 + C_2)}}$$
//!
//! with the range $L$, $C_1 = (0.01L)^2$, $C_2 = (0.03L)^2$; means and sample (co)variances
//! over uniform windows of 7 x 7 pixels, averaged over all windows that lie in the image.
//! These are the defaults of scikit-image.
//!
//! Source: Wang, Bovik, Sheikh & Simoncelli 2004, doi:10.1109/TIP.2003.819861. Validated by
//! the test below.

/// Width of the windows.
const WINDOW: usize = 7;

/// Peak signal-to-noise ratio in dB.
///
/// # Shapes
/// Both arrays have the same length.
pub fn psnr(image: &[f64], truth: &[f64], range: f64) -> f64 {
    let sum: f64 = image.iter().zip(truth).map(|(x, t)| (x - t).powi(2)).sum();
    10.0 * (range * range * truth.len() as f64 / sum).log10()
}

/// Structural similarity of two images; NaN for images smaller than a window.
///
/// # Shapes
/// Both `[y, x]` with `width` columns.
pub fn ssim(image: &[f64], truth: &[f64], width: usize, range: f64) -> f64 {
    let height = truth.len().checked_div(width).unwrap_or(0);
    if width < WINDOW || height < WINDOW || image.len() != truth.len() {
        return f64::NAN;
    }
    let (c1, c2) = ((0.01 * range).powi(2), (0.03 * range).powi(2));
    let n = (WINDOW * WINDOW) as f64;
    let mut sum = 0.0;
    for y in 0..=height - WINDOW {
        for x in 0..=width - WINDOW {
            let mut s = [0.0; 5];
            for j in y..y + WINDOW {
                for i in x..x + WINDOW {
                    let (a, b) = (image[j * width + i], truth[j * width + i]);
                    for (s, v) in s.iter_mut().zip([a, b, a * a, b * b, a * b]) {
                        *s += v;
                    }
                }
            }
            let [a, b, aa, bb, ab] = s.map(|v| v / n);
            let sample = n / (n - 1.0);
            let [va, vb, cov] = [aa - a * a, bb - b * b, ab - a * b].map(|v| sample * v);
            sum += (2.0 * a * b + c1) * (2.0 * cov + c2) / ((a * a + b * b + c1) * (va + vb + c2));
        }
    }
    sum / ((height - WINDOW + 1) * (width - WINDOW + 1)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of scikit-image 0.26 (`peak_signal_noise_ratio`, `structural_similarity`).
    #[test]
    fn equals_scikit_image() {
        let truth: Vec<f64> = (0..12 * 9).map(|i| f64::from((i * 37 + 11) % 101) / 100.0).collect();
        let image: Vec<f64> =
            truth.iter().enumerate().map(|(i, t)| 0.9 * t + 0.01 * (i % 7) as f64).collect();
        assert!((psnr(&image, &truth, 1.0) - PSNR).abs() < 1e-9, "{}", psnr(&image, &truth, 1.0));
        let found = ssim(&image, &truth, 9, 1.0);
        assert!((found - SSIM).abs() < 1e-12, "{found}");
        assert!(ssim(&image, &truth, 6, 1.0).is_nan());
        assert!((ssim(&truth, &truth, 9, 1.0) - 1.0).abs() < 1e-12);
    }
    const PSNR: f64 = 27.708_991_029_764_768;
    const SSIM: f64 = 0.990_460_984_576_075_3;
}
