//! Histograms as densities.
//!
//! $$\hat p_k = n_k / (n h),\qquad h = 2\,\mathrm{IQR}\,n^{-1/3}$$
//!
//! with $n_k$ of $n$ values in bin $k$ and $h$ the bin width of Freedman & Diaconis
//! 1981, doi:10.1007/BF01025868, kept within 8 to 60 bins.
//!
//! Validated by `a_density_integrates_to_one` below.

/// Bins (left, right, density) over the finite values; `width` fixes their width,
/// with an edge at 0.
pub(super) fn density(values: &[f64], width: Option<f64>) -> Vec<(f64, f64, f64)> {
    let mut v: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
    v.sort_by(f64::total_cmp);
    let (Some(&low), Some(&high)) = (v.first(), v.last()) else {
        return Vec::new();
    };
    let quartiles = v[(v.len() * 3) / 4 % v.len()] - v[v.len() / 4];
    let wanted = 2.0 * quartiles / (v.len() as f64).cbrt();
    let count = width.map_or_else(
        || if wanted > 0.0 { ((high - low) / wanted).ceil().clamp(8.0, 60.0) } else { 12.0 },
        |w| ((high / w).ceil() - (low / w).floor()).clamp(1.0, 200.0),
    ) as usize;
    let (low, step) = match width {
        Some(w) => ((low / w).floor() * w, w),
        None if high > low => (low, (high - low) / count as f64),
        None => {
            let half = (0.02 * low.abs()).max(1e-6);
            (low - half, 2.0 * half / count as f64)
        }
    };
    let mut counts = vec![0usize; count];
    for x in &v {
        let bin = (((x - low) / step).floor().max(0.0) as usize).min(count - 1);
        counts[bin] += 1;
    }
    let unit = 1.0 / (v.len() as f64 * step);
    let edge = |i: usize| low + i as f64 * step;
    counts.iter().enumerate().map(|(i, n)| (edge(i), edge(i + 1), *n as f64 * unit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_density_integrates_to_one() {
        let values: Vec<f64> = (0..500).map(|i| (f64::from(i) * 0.7).sin()).collect();
        for width in [None, Some(0.5)] {
            let area: f64 = density(&values, width).iter().map(|b| (b.1 - b.0) * b.2).sum();
            assert!((area - 1.0).abs() < 1e-12, "{area}");
        }
        let spike: f64 = density(&[3.0; 7], None).iter().map(|b| (b.1 - b.0) * b.2).sum();
        assert!((spike - 1.0).abs() < 1e-12, "{spike}");
    }
}
