//! Sums and updates of long arrays: equal to the bit for any number of threads.
//!
//! Numbers are widened to float64, and sums are taken piece by piece in a fixed order.
//! Validated by `sums_do_not_depend_on_threads` below.

use microtome_kernels::ray::Real;
use rayon::prelude::*;

/// Values of a piece.
const PIECE: usize = 1 << 14;

/// $\sum_i f(a_i)$.
pub(super) fn sum<T: Real>(a: &[T], f: impl Fn(f64) -> f64 + Sync) -> f64 {
    let parts: Vec<f64> =
        a.par_chunks(PIECE).map(|a| a.iter().map(|a| f(a.wide())).sum::<f64>()).collect();
    parts.iter().sum()
}

/// $\sum_i f(a_i, b_i)$.
pub(super) fn sum2<T: Real>(a: &[T], b: &[T], f: impl Fn(f64, f64) -> f64 + Sync) -> f64 {
    let part =
        |(a, b): (&[T], &[T])| a.iter().zip(b).map(|(a, b)| f(a.wide(), b.wide())).sum::<f64>();
    let parts: Vec<f64> = a.par_chunks(PIECE).zip(b.par_chunks(PIECE)).map(part).collect();
    parts.iter().sum()
}

/// $\sum_i f(a_i, b_i, c_i)$.
pub(super) fn sum3<T: Real>(
    a: &[T],
    b: &[T],
    c: &[T],
    f: impl Fn(f64, f64, f64) -> f64 + Sync,
) -> f64 {
    let pieces = a.par_chunks(PIECE).zip(b.par_chunks(PIECE)).zip(c.par_chunks(PIECE));
    let part = |((a, b), c): ((&[T], &[T]), &[T])| {
        let all = a.iter().zip(b).zip(c);
        all.map(|((a, b), c)| f(a.wide(), b.wide(), c.wide())).sum::<f64>()
    };
    let parts: Vec<f64> = pieces.map(part).collect();
    parts.iter().sum()
}

/// The same piece of four vectors, as `zip` gives it.
type Four<'a, T> = (((&'a [T], &'a [T]), &'a [T]), &'a [T]);

/// $\sum_i f(a_i, b_i, c_i, d_i)$.
pub(super) fn sum4<T: Real>([a, b, c, d]: [&[T]; 4], f: impl Fn([f64; 4]) -> f64 + Sync) -> f64 {
    let pieces = a.par_chunks(PIECE).zip(b.par_chunks(PIECE));
    let pieces = pieces.zip(c.par_chunks(PIECE)).zip(d.par_chunks(PIECE));
    let part = |(((a, b), c), d): Four<'_, T>| {
        let all = a.iter().zip(b).zip(c).zip(d);
        all.map(|(((a, b), c), d)| f([a, b, c, d].map(|v| v.wide()))).sum::<f64>()
    };
    let parts: Vec<f64> = pieces.map(part).collect();
    parts.iter().sum()
}

/// $a^Tb$.
pub(super) fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    sum2(a, b, |a, b| a * b)
}

/// $\|a\|$.
pub(super) fn norm<T: Real>(a: &[T]) -> f64 {
    sum(a, |a| a * a).sqrt()
}

/// $o_i \leftarrow f(o_i)$.
pub(super) fn each<T: Real>(out: &mut [T], f: impl Fn(f64) -> f64 + Sync) {
    out.par_chunks_mut(PIECE).for_each(|o| o.iter_mut().for_each(|o| *o = T::narrow(f(o.wide()))));
}

/// $o_i \leftarrow f(o_i, a_i)$.
pub(super) fn each2<T: Real>(out: &mut [T], a: &[T], f: impl Fn(f64, f64) -> f64 + Sync) {
    out.par_chunks_mut(PIECE).zip(a.par_chunks(PIECE)).for_each(|(o, a)| {
        o.iter_mut().zip(a).for_each(|(o, a)| *o = T::narrow(f(o.wide(), a.wide())));
    });
}

/// $o_i \leftarrow f(o_i, a_i, b_i)$.
pub(super) fn each3<T: Real>(
    out: &mut [T],
    a: &[T],
    b: &[T],
    f: impl Fn(f64, f64, f64) -> f64 + Sync,
) {
    let pieces = out.par_chunks_mut(PIECE).zip(a.par_chunks(PIECE)).zip(b.par_chunks(PIECE));
    pieces.for_each(|((o, a), b)| {
        let all = o.iter_mut().zip(a).zip(b);
        all.for_each(|((o, a), b)| *o = T::narrow(f(o.wide(), a.wide(), b.wide())));
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_depend_on_threads() {
        let a: Vec<f32> = (0..100_003).map(|i| ((i * 37) as f32).sin()).collect();
        let b: Vec<f32> = (0..100_003).map(|i| ((i * 11) as f32).cos()).collect();
        let of = |n: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| {
                [sum2(&a, &b, |a, b| a * b), norm(&a), sum3(&a, &b, &a, |a, b, c| a * b + c)]
            })
        };
        assert_eq!(of(1).map(f64::to_bits), of(3).map(f64::to_bits));
        let plain: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        assert!((of(1)[0] - plain).abs() < 1e-9);
    }
}
