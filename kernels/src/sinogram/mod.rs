//! What is done to projections before a reconstruction.
//!
//! | module | idea |
//! |---|---|
//! | `counts` | counts, flats and darks to line integrals and their inverse variances |
//! | `outlier` | pixels far above the median of their neighbours; sums of pixels |
//! | `sorting` | rings: columns sorted by value, medians across (Vo et al. 2018) |
//! | `smoothing` | rings: the mean over views against its moving average |
//! | `wavelet`, `damping` | rings: wavelets and Fourier damping (Münch et al. 2009) |
//! | `mirror` | how well a sinogram fits its mirror image about an axis |
//!
//! A sinogram is `[view, u]`; stripes run along the views.

pub mod counts;
pub mod damping;
pub mod mirror;
pub mod outlier;
pub mod smoothing;
pub mod sorting;
pub mod wavelet;

/// The median of numbers, which are put in another order; the mean of the two middle ones
/// where their number is even.
fn median(values: &mut [f64]) -> f64 {
    let n = values.len();
    if n == 0 {
        return f64::NAN;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    if n % 2 == 1 {
        return upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    0.5 * (lower + upper)
}

/// The median over `size` neighbours of every entry; at the ends the row is continued by its
/// mirror image.
fn median_filter(row: &[f64], size: usize, window: &mut Vec<f64>, out: &mut [f64]) {
    let n = row.len() as isize;
    let half = (size / 2) as isize;
    for (at, o) in out.iter_mut().enumerate() {
        window.clear();
        let at = at as isize;
        window.extend((at - half..at - half + size as isize).map(|k| row[mirrored(k, n)]));
        *o = median(window);
    }
}

/// Index `k` of a row of length `n` that is continued by its mirror image, the ends twice.
fn mirrored(k: isize, n: isize) -> usize {
    let k = k.rem_euclid(2 * n);
    (if k < n { k } else { 2 * n - 1 - k }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 9.0]), 3.0);
        let mut out = [0.0; 4];
        median_filter(&[5.0, 1.0, 2.0, 9.0], 3, &mut Vec::new(), &mut out);
        assert_eq!(out, [5.0, 2.0, 2.0, 9.0]);
        assert_eq!([-1, -2, 3, 4, 5].map(|k| mirrored(k, 3)), [0, 1, 2, 1, 0]);
    }
}
