//! Many tests at once: p values of Holm.
//!
//! With p values in rising order $p_{(1)} \le \dots \le p_{(m)}$,
//! $$\tilde p_{(i)} = \max_{j \le i} \min\{1,\ (m - j + 1)\,p_{(j)}\}.$$
//! To reject where $\tilde p \le \alpha$ keeps the probability of any wrong rejection below
//! $\alpha$, whatever the dependence of the tests.
//!
//! Source: Holm 1979, Scand. J. Statist. 6:65. Validated by `adjusted_by_hand` below.

/// Adjusted p values, in the order given.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut out = vec![1.0; p.len()];
    let mut largest = 0.0_f64;
    for (i, &k) in order.iter().enumerate() {
        largest = largest.max(((p.len() - i) as f64 * p[k]).min(1.0));
        out[k] = largest;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_by_hand() {
        // Sorted: 0.005 x 4, 0.011 x 3, 0.02 x 2, 0.04 x 1.
        let adjusted = holm(&[0.02, 0.005, 0.04, 0.011]);
        for (a, b) in adjusted.iter().zip([0.04, 0.02, 0.04, 0.033]) {
            assert!((a - b).abs() < 1e-15, "{adjusted:?}");
        }
        assert_eq!(holm(&[0.9, 0.6]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
