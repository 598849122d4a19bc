//! Which voxels are neighbours, and what they say of each other.
//!
//! $$p(Z)\propto\exp\Big(-\tfrac12\sum_{v\sim w}(z_v-z_w)^TP(z_v-z_w)
//!   -\tfrac\rho2\sum_v(z_v-m)^TP(z_v-m)\Big)$$
//!
//! over the pairs $v\sim w$ of the six-neighbourhood inside the mask: the first-order
//! intrinsic field with a proper part towards the population mean, so $K=G+\rho I$ with
//! the graph Laplacian $G$. One voxel given the others is normal,
//! $$z_v\,|\,\cdot\sim\mathcal N\!\Big(\frac{\sum_{w\sim v}z_w+\rho m}{n_v+\rho},\
//!   \frac{\Sigma}{n_v+\rho}\Big).$$
//! Voxels of equal parity of $i+j+k$ are no neighbours, so one colour is drawn at once.
//! Without places $G=0$ and $\rho=1$: a population of independent voxels.
//!
//! Source: Rue & Held 2005, *Gaussian Markov Random Fields*, ch. 3; Gelfand & Vounatsou
//! 2003, doi:10.1093/biostatistics/4.1.11 (several coordinates with one covariance).
//! Validated by `neighbours_of_a_block` below and `joint_distribution` in
//! `tests/population.rs`.

use std::collections::HashMap;

/// Weight ρ of the population mean beside that of one neighbour: a correlation length of
/// $\rho^{-1/2}\approx 4.5$ voxels.
pub const PROPER: f64 = 0.05;

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

    /// The neighbours of a voxel.
    pub fn neighbours(&self, v: usize) -> impl Iterator<Item = usize> + '_ {
        let all = self.neighbours.get(v).into_iter().flatten();
        all.filter(|w| **w != NONE).map(|w| *w as usize)
    }

    /// Mean and weight of a voxel given the others: its covariance is Σ over the weight.
    ///
    /// # Shapes
    /// `positions` `[voxel, d]`, `mean` and `centre` `[d]`.
    pub fn conditional(
        &self,
        v: usize,
        positions: &[f64],
        mean: &[f64],
        centre: &mut [f64],
    ) -> f64 {
        let d = mean.len();
        for (c, m) in centre.iter_mut().zip(mean) {
            *c = self.proper * m;
        }
        let mut weight = self.proper;
        for w in self.neighbours(v) {
            weight += 1.0;
            for (c, z) in centre.iter_mut().zip(&positions[w * d..(w + 1) * d]) {
                *c += z;
            }
        }
        for c in centre.iter_mut() {
            *c /= weight;
        }
        weight
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
        let of = |v: usize| field.neighbours(v).collect::<Vec<_>>();
        assert_eq!(of(0), [1, 3]);
        assert_eq!(of(4), [3, 5, 1]);
        assert_eq!(of(6), Vec::<usize>::new());
        for v in 0..7 {
            for w in of(v) {
                assert_ne!(field.colour(v), field.colour(w));
                assert!(of(w).contains(&v));
            }
        }
        let positions: Vec<f64> = (0..7).map(f64::from).collect();
        let mut centre = [0.0];
        let weight = field.conditional(4, &positions, &[10.0], &mut centre);
        assert!((weight - 3.05).abs() < 1e-14);
        assert!((centre[0] - (9.0 + 0.5) / 3.05).abs() < 1e-14);
        assert!((field.conditional(6, &positions, &[10.0], &mut centre) - 0.05).abs() < 1e-14);
        assert!((centre[0] - 10.0).abs() < 1e-12);
        // Without places: the population alone.
        let field = Field::without_places();
        assert_eq!(field.conditional(3, &positions, &[10.0], &mut centre), 1.0);
        assert_eq!((centre[0], field.colours()), (10.0, 1));
    }
}
