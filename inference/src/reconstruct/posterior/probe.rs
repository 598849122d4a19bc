//! The diagonal of a symmetric matrix in the DCT, by random signs.
//!
//! $$d = \overline{s\cdot C H C^T s},\qquad s_i = \pm 1$$
//!
//! with the DCT $C$, averaged over bands of coefficients that are nearly alike. What is not on the
//! diagonal adds noise of zero mean.
//!
//! Source: Bekas, Kokiopoulou & Saad 2007, doi:10.1016/j.apnum.2007.01.003. Validated by
//! `a_diagonal_returns` below.

use super::cosine::CosineTransform;
use microtome_kernels::philox::Philox;

/// Stream of the random signs.
const STREAM: u8 = 90;

/// The mean of the diagonal over the coefficients of each band.
///
/// `multiply` writes $Hx$ over its second argument; `bands` has the band of every coefficient, below
/// `count`; `probes` vectors of signs are taken. Bands without coefficients are 0, and so are
/// means that are negative by noise.
pub(in super::super) fn banded_diagonal<E>(
    transform: &CosineTransform,
    probes: u32,
    bands: &[usize],
    count: usize,
    mut multiply: impl FnMut(&[f64], &mut [f64]) -> Result<(), E>,
) -> Result<Vec<f64>, E> {
    let n = bands.len();
    let philox = Philox::new(0);
    let mut diagonal = vec![0.0; n];
    for probe in 0..probes {
        let sign = |i: usize| {
            let word = philox.block(probe, 0, (i / 128) as u64, STREAM)[i / 32 % 4];
            if word >> (i % 32) & 1 == 0 { 1.0 } else { -1.0 }
        };
        let mut x: Vec<f64> = (0..n).map(sign).collect();
        transform.inverse(&mut x);
        let mut out = vec![0.0; n];
        multiply(&x, &mut out)?;
        transform.forward(&mut out);
        for (i, (d, o)) in diagonal.iter_mut().zip(&out).enumerate() {
            *d += sign(i) * o / f64::from(probes);
        }
    }
    let (mut sums, mut sizes) = (vec![0.0; count], vec![0.0_f64; count]);
    for (d, b) in diagonal.iter().zip(bands) {
        sums[*b] += d;
        sizes[*b] += 1.0;
    }
    Ok(sums.iter().zip(&sizes).map(|(s, n)| (s / n.max(1.0)).max(0.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagonal_returns() {
        let shape = [6, 8];
        let transform = CosineTransform::new(&shape);
        let bands: Vec<usize> = (0..48).map(|i| i / 16).collect();
        let found = banded_diagonal(&transform, 1, &bands, 4, |x, out| {
            out.copy_from_slice(x);
            transform.forward(out);
            out.iter_mut().enumerate().for_each(|(i, v)| *v *= 1.0 + (i / 16) as f64);
            transform.inverse(out);
            Ok::<(), ()>(())
        })
        .unwrap_or_default();
        for (f, wanted) in found.iter().zip([1.0, 2.0, 3.0, 0.0]) {
            assert!((f - wanted).abs() < 1e-12, "{found:?}");
        }
    }
}
