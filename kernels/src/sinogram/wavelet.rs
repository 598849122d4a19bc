//! Daubechies' wavelet of five vanishing moments (db5), with mirrored ends.
//!
//! $$a_i = \sum_j h_j\,x_{2i+1-j},\qquad d_i = \sum_j g_j\,x_{2i+1-j},\qquad
//!   x_m = \sum_i \left(a_i\,h_{9-(m+8-2i)} + d_i\,g_{9-(m+8-2i)}\right)$$
//!
//! for $i < \lfloor (n+9)/2\rfloor$; the row is continued by its mirror image, the ends twice
//! (the mode `symmetric` of PyWavelets).
//!
//! Source: Daubechies 1992, doi:10.1137/1.9781611970104, table 6.1; the coefficients are
//! factors of the polynomial, computed to 20 digits. Validated by `equals_pywavelets` and
//! `a_row_returns` below.

use super::mirrored;

/// Length of the filters.
const TAPS: usize = 10;

/// Low pass of the synthesis; the analysis has it reversed.
#[allow(clippy::excessive_precision, reason = "as published")]
const LOW: [f64; TAPS] = [
    0.160_102_397_974_192_914_48,
    0.603_829_269_797_189_670_54,
    0.724_308_528_437_772_927_73,
    0.138_428_145_901_320_731_51,
    -0.242_294_887_066_382_031_86,
    -0.032_244_869_584_638_374_648,
    0.077_571_493_840_045_713_523,
    -0.006_241_490_212_798_274_274_2,
    -0.012_580_751_999_081_999_469,
    0.003_335_725_285_473_771_278,
];

/// High pass of the synthesis.
fn high(j: usize) -> f64 {
    let sign = if j.is_multiple_of(2) { 1.0 } else { -1.0 };
    sign * LOW[TAPS - 1 - j]
}

/// Number of coefficients of a row of `n`.
pub fn coefficients(n: usize) -> usize {
    (n + TAPS - 1) / 2
}

/// Splits a row into its coarse and fine part.
pub fn split(row: &[f64], coarse: &mut Vec<f64>, fine: &mut Vec<f64>) {
    let n = row.len() as isize;
    coarse.clear();
    fine.clear();
    for i in 0..coefficients(row.len()) {
        let (mut a, mut d) = (0.0, 0.0);
        for j in 0..TAPS {
            let x = row[mirrored(2 * i as isize + 1 - j as isize, n)];
            a += LOW[TAPS - 1 - j] * x;
            d += high(TAPS - 1 - j) * x;
        }
        coarse.push(a);
        fine.push(d);
    }
}

/// Joins a coarse and a fine part to a row of `n`.
pub fn join(coarse: &[f64], fine: &[f64], n: usize, row: &mut Vec<f64>) {
    row.clear();
    for m in 0..n {
        let mut x = 0.0;
        // Taps j = m + 8 - 2i with 0 <= j < 10.
        let at = m + TAPS - 2;
        let first = (at + 1).saturating_sub(TAPS).div_ceil(2);
        for i in first..=(at / 2).min(coarse.len() - 1) {
            let j = at - 2 * i;
            x += coarse[i] * LOW[j] + fine[i] * high(j);
        }
        row.push(x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: usize) -> Vec<f64> {
        (0..n).map(|k| ((7 * k * k + 3 * k) % 23) as f64 - 9.0).collect()
    }

    #[test]
    fn a_row_returns() {
        for n in [2, 3, 9, 10, 17, 64, 101] {
            let x = row(n);
            let (mut a, mut d, mut back) = (vec![], vec![], vec![]);
            split(&x, &mut a, &mut d);
            join(&a, &d, n, &mut back);
            for (x, y) in x.iter().zip(&back) {
                assert!((x - y).abs() < 1e-11, "{n}: {x} {y}");
            }
        }
        // Five vanishing moments: cubics have no fine part inside.
        let x: Vec<f64> = (0..60).map(|k| (k as f64 / 10.0).powi(3)).collect();
        let (mut a, mut d) = (vec![], vec![]);
        split(&x, &mut a, &mut d);
        assert!(d[6..28].iter().all(|v| v.abs() < 1e-10));
    }

    #[test]
    fn equals_pywavelets() {
        // pywt.dwt([0, 1, 4, 9, 16, 25, 36], "db5"), PyWavelets 1.8.0.
        let x: Vec<f64> = (0..7).map(|k| f64::from(k * k)).collect();
        let (mut a, mut d) = (vec![], vec![]);
        split(&x, &mut a, &mut d);
        for (found, expected) in a.iter().zip(PYWT_COARSE).chain(d.iter().zip(PYWT_FINE)) {
            assert!((found - expected).abs() < 1e-11, "{found} {expected}");
        }
    }

    const PYWT_COARSE: [f64; 8] = [
        45.59537734232475,
        20.467479747948854,
        4.68451598340616,
        -0.20856714622088127,
        2.3708096991535346,
        12.980621518918658,
        42.80319703042057,
        45.59537734232475,
    ];
    const PYWT_FINE: [f64; 8] = [
        -0.16688650458577006,
        0.1360678762453999,
        0.010042127484713344,
        2.058743245809006,
        -3.7266747840768115,
        2.3150401378770757,
        -0.6263320987536155,
        -0.16688650458577012,
    ];
}
