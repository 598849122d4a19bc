//! Pixels far above their neighbours, and sums of pixels.
//!
//! A pixel is an outlier (a zinger: a photon that hit the sensor itself) where it is more
//! than `difference` above the median of the `size` x `size` pixels about it; it becomes that
//! median. Near the border the window is cut.
//!
//! The rule is that of `remove_outlier` of tomopy (Gürsoy et al. 2014,
//! doi:10.1107/S1600577514013939). Validated by the tests below.

use super::median;

/// Replaces outliers of an image `[v, u]`; returns their places.
pub fn remove_outliers(image: &mut [f64], nu: usize, size: usize, difference: f64) -> Vec<usize> {
    let nv = image.len() / nu.max(1);
    let half = size / 2;
    let mut found = Vec::new();
    let mut medians = Vec::new();
    let mut window = Vec::with_capacity(size * size);
    for v in 0..nv {
        for u in 0..nu {
            let value = image[v * nu + u];
            let rows = v.saturating_sub(half)..(v + half + 1).min(nv);
            let columns = u.saturating_sub(half)..(u + half + 1).min(nu);
            window.clear();
            for row in rows {
                window.extend_from_slice(&image[row * nu..][columns.clone()]);
            }
            // Few pixels are above even the least of their neighbours.
            let least = window.iter().copied().fold(f64::INFINITY, f64::min);
            if value - least < difference {
                continue;
            }
            let middle = median(&mut window);
            if value - middle >= difference {
                found.push(v * nu + u);
                medians.push(middle);
            }
        }
    }
    for (at, m) in found.iter().zip(&medians) {
        image[*at] = *m;
    }
    found
}

/// A part of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    /// First row and the one after the last.
    pub rows: [usize; 2],
    /// First column and the one after the last.
    pub columns: [usize; 2],
    /// Pixels along v and u that are added to one; what is left at the end is dropped.
    pub bin: [usize; 2],
}

impl Crop {
    /// The whole image.
    pub fn whole(nv: usize, nu: usize) -> Self {
        Self { rows: [0, nv], columns: [0, nu], bin: [1, 1] }
    }

    /// Rows and columns of the result.
    pub fn size(&self) -> [usize; 2] {
        [
            (self.rows[1] - self.rows[0]) / self.bin[0],
            (self.columns[1] - self.columns[0]) / self.bin[1],
        ]
    }

    /// The part of an image with rows of `nu` pixels, pixels added up.
    pub fn apply(&self, image: &[f64], nu: usize, out: &mut [f64]) {
        let [nv, mu] = self.size();
        for v in 0..nv {
            for u in 0..mu {
                let mut sum = 0.0;
                for row in 0..self.bin[0] {
                    let at = (self.rows[0] + v * self.bin[0] + row) * nu
                        + self.columns[0]
                        + u * self.bin[1];
                    sum += image[at..at + self.bin[1]].iter().sum::<f64>();
                }
                out[v * mu + u] = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bright_pixels_go_and_edges_stay() {
        // A step and two zingers, one at the border.
        let mut image: Vec<f64> = (0..48).map(|k| if k % 8 < 4 { 100.0 } else { 900.0 }).collect();
        let clean = image.clone();
        image[0] = 5000.0;
        image[3 * 8 + 5] = 2000.0;
        assert_eq!(remove_outliers(&mut image, 8, 3, 500.0), [0, 29]);
        assert_eq!(image, clean);
        assert!(remove_outliers(&mut image, 8, 3, 500.0).is_empty());
        // One row.
        let mut row = [1.0, 1.0, 9.0, 1.0, 1.0];
        assert_eq!(remove_outliers(&mut row, 5, 3, 5.0), [2]);
        assert_eq!(row, [1.0; 5]);
    }

    #[test]
    fn parts_are_added_up() {
        let image: Vec<f64> = (0..20).map(f64::from).collect();
        let crop = Crop { rows: [1, 4], columns: [0, 5], bin: [2, 2] };
        assert_eq!(crop.size(), [1, 2]);
        let mut out = [0.0; 2];
        crop.apply(&image, 5, &mut out);
        assert_eq!(out, [5.0 + 6.0 + 10.0 + 11.0, 7.0 + 8.0 + 12.0 + 13.0]);
        assert_eq!(Crop::whole(4, 5).size(), [4, 5]);
    }
}
