//! Which voxels are neighbours, and what they say of each other.
//!
//! $$p(Z\,|\,m,\Sigma)\propto|\Sigma|^{-n/2}\prod_{v\sim w}
//!   \Big(1+\frac{q_{vw}}{\kappa}\Big)^{-(\kappa+d)/2}
//!   \exp\Big(-\tfrac\rho2\sum_v(z_v-m)^TP(z_v-m)\Big),\qquad
//!   q_{vw}=(z_v-z_w)^TP(z_v-z_w)$$
//!
//! over the pairs $v\sim w$ of the six-neighbourhood inside the mask: first-order
//! differences with the tails of Student's t, which an edge between tissues may break,
//! and a proper part towards the population mean. The constant that is left out does
//! not depend on m and Σ (put $z_v=m+Lu_v$). With a weight for each pair it is a Gaussian
//! Markov random field: $\omega_{vw}\sim\mathrm{Gamma}((\kappa+d)/2,\ (\kappa+q_{vw})/2)$
//! (shape, rate) given Z, and one voxel given the others and the weights is normal,
//! $$z_v\,|\,\cdot\sim\mathcal N\!\Big(\frac{\sum_{w\sim v}\omega_{vw}z_w+\rho m}{\omega_v},\
//!   \frac{\Sigma}{\omega_v}\Big),\qquad \omega_v=\rho+\sum_{w\sim v}\omega_{vw}.$$
//! Voxels of equal parity of $i+j+k$ are no neighbours, so one colour is drawn at once.
//! Without places there are no pairs and $\rho=1$: a population of independent voxels.
//!
//! Source: Rue & Held 2005, *Gaussian Markov Random Fields*, ch. 3 and section 4.3
//! (scale mixtures); Gelfand & Vounatsou 2003, doi:10.1093/biostatistics/4.1.11 (several
//! coordinates with one covariance); Brezger, Fahrmeir & Hennerfeind 2007,
//! doi:10.1111/j.1467-9876.2007.00580.x (weights of pairs in images of brains).
//! Validated by `neighbours_of_a_block` below and by `joint_distribution` in
//! `tests.rs`.

use rand::Rng;
use rand_distr::{Distribution, Gamma};
use std::collections::HashMap;

/// Weight ρ of the population mean beside that of one neighbour: a correlation length of
/// $\rho^{-1/2}\approx 4.5$ voxels.
pub const PROPER: f64 = 0.05;

/// Degrees of freedom κ of the differences of neighbours.
const KAPPA: f64 = 3.0;

/// No neighbour.
const NONE: u32 = u32::MAX;

/// The neighbours of the voxels of a region.
#[derive(Debug, Clone)]
pub struct Field {
    neighbours: Vec<[u32; 6]>,
    colour: Vec<u8>,
    proper: f64,
}

impl Field {
    /// Voxels without places.
    pub fn without_places() -> Self {
        Self { neighbours: Vec::new(), colour: Vec::new(), proper: 1.0 }
    }

    /// Voxels at image indices.
    pub fn of(ijk: &[[i32; 3]]) -> Self {
        let at: HashMap<[i32; 3], u32> =
            ijk.iter().enumerate().map(|(v, ijk)| (*ijk, v as u32)).collect();
        let neighbours = ijk
            .iter()
            .map(|v| {
                let mut out = [NONE; 6];
                for (n, out) in out.iter_mut().enumerate() {
                    let mut w = *v;
                    w[n / 2] += if n % 2 == 0 { -1 } else { 1 };
                    *out = at.get(&w).copied().unwrap_or(NONE);
                }
                out
            })
            .collect();
        let colour = ijk.iter().map(|v| v.iter().sum::<i32>().rem_euclid(2) as u8).collect();
        Self { neighbours, colour, proper: PROPER }
    }

    /// Passes over the voxels that a scan takes.
    pub fn colours(&self) -> u8 {
        if self.colour.is_empty() { 1 } else { 2 }
    }

    /// The pass in which a voxel is drawn.
    pub fn colour(&self, v: usize) -> u8 {
        self.colour.get(v).copied().unwrap_or(0)
    }

    /// The weight ρ of the population mean.
    pub fn proper(&self) -> f64 {
        self.proper
    }

    /// Neighbours of a voxel.
    pub fn count(&self, v: usize) -> usize {
        self.neighbours.get(v).map_or(0, |n| n.iter().filter(|w| **w != NONE).count())
    }

    /// The pairs of a voxel with its neighbours along positive axes: (axis, neighbour).
    pub fn pairs(&self, v: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let all = self.neighbours.get(v).into_iter().flatten().enumerate();
        all.filter(|(n, w)| n % 2 == 1 && **w != NONE).map(|(n, w)| (n / 2, *w as usize))
    }

    /// Mean and weight of a voxel given the others: its covariance is Σ over the weight.
    ///
    /// # Shapes
    /// `positions` `[voxel, d]`, `weights` of pairs `[voxel][axis]`, `mean` and `centre`
    /// `[d]`.
    pub fn conditional(
        &self,
        v: usize,
        positions: &[f64],
        weights: &[[f64; 3]],
        mean: &[f64],
        centre: &mut [f64],
    ) -> f64 {
        let d = mean.len();
        for (c, m) in centre.iter_mut().zip(mean) {
            *c = self.proper * m;
        }
        let mut total = self.proper;
        let all = self.neighbours.get(v).into_iter().flatten().enumerate();
        for (n, w) in all.filter(|(_, w)| **w != NONE) {
            let w = *w as usize;
            let weight = weights[if n % 2 == 1 { v } else { w }][n / 2];
            total += weight;
            for (c, z) in centre.iter_mut().zip(&positions[w * d..(w + 1) * d]) {
                *c += weight * z;
            }
        }
        for c in centre.iter_mut() {
            *c /= total;
        }
        total
    }

    /// Draws the weights of the pairs of a voxel.
    pub fn draw_weights<R: Rng + ?Sized>(
        &self,
        v: usize,
        positions: &[f64],
        precision: &[f64],
        rng: &mut R,
    ) -> [f64; 3] {
        let d = precision.len().isqrt();
        let at = |v: usize| &positions[v * d..(v + 1) * d];
        let mut out = [1.0; 3];
        for (axis, w) in self.pairs(v) {
            let difference: Vec<f64> = at(v).iter().zip(at(w)).map(|(a, b)| a - b).collect();
            let square: f64 = precision
                .chunks_exact(d)
                .zip(&difference)
                .map(|(row, a)| a * row.iter().zip(&difference).map(|(p, b)| p * b).sum::<f64>())
                .sum();
            let shape = 0.5 * (KAPPA + d as f64);
            out[axis] =
                Gamma::new(shape, 2.0 / (KAPPA + square)).map_or(f64::NAN, |g| g.sample(rng));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_a_block() {
        // A 3 x 2 x 1 block and a voxel apart from it.
        let mut ijk: Vec<[i32; 3]> = (0..6).map(|v| [v % 3, v / 3, 0]).collect();
        ijk.push([9, 0, 0]);
        let field = Field::of(&ijk);
        let of = |v: usize| field.pairs(v).collect::<Vec<_>>();
        assert_eq!(of(0), [(0, 1), (1, 3)]);
        assert_eq!(of(4), [(0, 5)]);
        assert_eq!(of(6), []);
        assert_eq!([0, 4, 6].map(|v| field.count(v)), [2, 3, 0]);
        for v in 0..7 {
            for (_, w) in of(v) {
                assert_ne!(field.colour(v), field.colour(w));
            }
        }
        let positions: Vec<f64> = (0..7).map(f64::from).collect();
        let mut centre = [0.0];
        // The pair (3, 4) has the weight 2, (4, 5) 1 and (1, 4) 0.5.
        let mut weights = [[1.0; 3]; 7];
        weights[3][0] = 2.0;
        weights[1][1] = 0.5;
        let weight = field.conditional(4, &positions, &weights, &[10.0], &mut centre);
        assert!((weight - 3.55).abs() < 1e-14);
        assert!((centre[0] - (6.0 + 5.0 + 0.5 + 0.5) / 3.55).abs() < 1e-14);
        let weight = field.conditional(6, &positions, &weights, &[10.0], &mut centre);
        assert!((weight - 0.05).abs() < 1e-14);
        assert!((centre[0] - 10.0).abs() < 1e-12);
        // Without places: the population alone.
        let field = Field::without_places();
        assert_eq!(field.conditional(3, &positions, &[], &[10.0], &mut centre), 1.0);
        assert_eq!((centre[0], field.colours()), (10.0, 1));
    }
}
