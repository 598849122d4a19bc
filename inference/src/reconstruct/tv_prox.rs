//! The proximal map of total variation within bounds.
//!
//! $$\operatorname{prox}_{c\,\mathrm{TV}}(z) = \arg\min_{\ell\le x\le u}
//!   \tfrac12\|x-z\|^2 + c\,\mathrm{TV}(x) = P[z - \nabla^Tq],\quad |q_j| \le c$$
//!
//! by fast projected gradients of the dual,
//! $q_+ = \Pi_c(r + \tfrac1{4d}\nabla P[z-\nabla^Tr])$, $r_+ = q_+ + \tfrac{t-1}{t_+}(q_+-q)$. The
//! field is kept, so that the next call with a near $z$ begins where this one ended.
//!
//! Source: Beck & Teboulle 2009, doi:10.1109/TIP.2009.2028250 (algorithm FGP). Validated by
//! `the_optimum_has_no_gap` below.

use super::vector::{each, each2};
use microtome_kernels::ray::Real;
use microtome_kernels::variation::{Field, Lattice, add_transpose, ascend};

/// The map and its dual field.
pub(super) struct TvProx<T> {
    lattice: Lattice,
    bounds: [f64; 2],
    q: Field<T>,
    r: Field<T>,
    image: Vec<T>,
}

impl<T: Real> TvProx<T> {
    pub(super) fn new(lattice: Lattice, bounds: [f64; 2]) -> Self {
        let image = vec![T::default(); lattice.len()];
        Self { q: lattice.field(), r: lattice.field(), lattice, bounds, image }
    }

    pub(super) fn lattice(&self) -> &Lattice {
        &self.lattice
    }

    /// The dual field.
    pub(super) fn field(&mut self) -> &mut Field<T> {
        &mut self.q
    }

    /// $P[z-\nabla^Tr]$ of a field, into `out`.
    fn primal(lattice: &Lattice, [lower, upper]: [f64; 2], z: &[T], r: &Field<T>, out: &mut [T]) {
        out.copy_from_slice(z);
        add_transpose(lattice, r, out, -1.0);
        each(out, |v| v.clamp(lower, upper));
    }

    /// Writes $\operatorname{prox}_{c\,\mathrm{TV}}(z)$ over `out` after so many steps.
    pub(super) fn apply(&mut self, z: &[T], c: f64, steps: usize, out: &mut [T]) {
        let step = 1.0 / self.lattice.squared_norm();
        let mut t = 1.0_f64;
        for (r, q) in self.r.iter_mut().zip(&self.q) {
            r.copy_from_slice(q);
        }
        for _ in 0..steps {
            Self::primal(&self.lattice, self.bounds, z, &self.r, &mut self.image);
            ascend(&self.lattice, &self.image, &mut self.r, step, c);
            let next = 0.5 * (1.0 + (1.0 + 4.0 * t * t).sqrt());
            let beta = (t - 1.0) / next;
            t = next;
            for (r, q) in self.r.iter_mut().zip(&mut self.q) {
                // q takes the new field, r the extrapolated one.
                each2(q, r, |old, new| (1.0 + beta) * new - beta * old);
                std::mem::swap(r, q);
            }
        }
        Self::primal(&self.lattice, self.bounds, z, &self.q, out);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use microtome_kernels::variation::{gradient, total_variation};

    /// With x = P[z - D'q] the gap is c TV(x) - <q, Dx>, zero at the optimum only.
    #[test]
    fn the_optimum_has_no_gap() {
        for shape in [vec![9, 11], vec![4, 5, 6]] {
            for bounds in [[f64::NEG_INFINITY, f64::INFINITY], [0.0, 0.9]] {
                let lattice = Lattice::new(&shape).unwrap();
                let n = lattice.len();
                let z: Vec<f64> = (0..n).map(|i| ((i * i % 83) as f64).sin()).collect();
                let mut prox = TvProx::new(lattice, bounds);
                let mut x = vec![0.0; n];
                let gap = |steps: usize, prox: &mut TvProx<f64>, x: &mut [f64]| {
                    prox.apply(&z, 0.3, steps, x);
                    let mut d = lattice.field();
                    gradient(&lattice, x, &mut d);
                    let inner = |(q, d): (&Vec<f64>, &Vec<f64>)| {
                        q.iter().zip(d).map(|(q, d)| q * d).sum::<f64>()
                    };
                    let pairing: f64 = prox.q.iter().zip(&d).map(inner).sum();
                    let longest = (0..n)
                        .map(|j| prox.q.iter().map(|q| q[j] * q[j]).sum::<f64>().sqrt())
                        .fold(0.0, f64::max);
                    assert!(longest <= 0.3 * (1.0 + 1e-12));
                    0.3 * total_variation(&lattice, x) - pairing
                };
                assert!(gap(3, &mut prox, &mut x) > 1e-3);
                // The second call goes on from the first.
                gap(1000, &mut prox, &mut x);
                let left = gap(1000, &mut prox, &mut x);
                assert!(left < 1e-7, "{shape:?} {bounds:?} {left:e}");
                assert!(x.iter().all(|v| (bounds[0]..=bounds[1]).contains(v)));
            }
        }
    }
}
