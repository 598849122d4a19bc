//! Gradient nonlinearity: the gradient that a voxel had instead of the nominal one.
//!
//! $$g_\mathrm{eff} = (I + L)\,g,\qquad b_\mathrm{eff} = b\,|g_\mathrm{eff}|^2,\qquad
//!   B_\mathrm{eff} = (I + L)\,B\,(I + L)^T$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $L$ | | deviation of the gradient coils at the voxel, a few hundredths |
//! | $g$ | | nominal unit direction |
//!
//! Timing and the shape of a waveform stay; q scales with the gradient. The nine
//! numbers of a voxel are those of FSL and the Human Connectome Project
//! (`grad_dev.nii.gz`): $L$ column by column, $L_{xx}, L_{yx}, L_{zx}, L_{xy},
//! L_{yy}, L_{zy}, L_{xz}, L_{yz}, L_{zz}$, in the frame of the b-vectors.
//!
//! Source: Bammer et al. 2003, doi:10.1002/mrm.10545; Sotiropoulos et al. 2013,
//! doi:10.1016/j.neuroimage.2013.05.057 (the maps). Validated by
//! `tests/encoding.rs` and `nonlinearity_*` in `inference/tests/suite/run.rs`.

use super::Acquisition;
use super::b_tensor::{self, Shape, Symmetric};

/// The deviation $L$ of one voxel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradientNonlinearity {
    /// $I + L$, by rows.
    total: [[f64; 3]; 3],
    zero: bool,
}

impl GradientNonlinearity {
    /// From nine numbers in the order of FSL: $L$ column by column. `None` where a
    /// number is not finite or $I + L$ turns a direction to nothing.
    ///
    /// # Example
    /// ```
    /// use microtome_models::{Acquisition, GradientNonlinearity};
    /// let x = [1.0, 0.0, 0.0];
    /// let a = Acquisition::from_b(&[1.0], &[x], None, None)?;
    /// // L_xx = 0.1: the gradient along x is 1.1 times as strong, b 1.21 times.
    /// let l = GradientNonlinearity::from_fsl(&[0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    /// let seen = l.map(|l| l.apply(&a)).ok_or("not a deviation")?;
    /// assert!((seen.b_ms_per_um2()[0] - 1.21).abs() < 1e-15);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_fsl(columns: &[f64; 9]) -> Option<Self> {
        let total: [[f64; 3]; 3] = std::array::from_fn(|i| {
            std::array::from_fn(|j| columns[i + 3 * j] + f64::from(u8::from(i == j)))
        });
        let [a, b, c] = total;
        let determinant = a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0])
            + a[2] * (b[0] * c[1] - b[1] * c[0]);
        let valid = columns.iter().all(|v| v.is_finite()) && determinant.abs() > 1e-6;
        valid.then(|| Self { total, zero: columns.iter().all(|v| *v == 0.0) })
    }

    /// Whether the voxel has the nominal gradients.
    pub fn is_zero(&self) -> bool {
        self.zero
    }

    fn turn(&self, g: [f64; 3]) -> [f64; 3] {
        self.total.map(|row| row[0] * g[0] + row[1] * g[1] + row[2] * g[2])
    }

    /// The acquisition of the voxel.
    ///
    /// Linear encoding stays linear. Other b-tensors lose their axis of symmetry
    /// in general, and keep a signal for `ball`, `dot` and `tensor` only (see
    /// [`crate::Model::check_nonlinearity`]).
    pub fn apply(&self, acquisition: &Acquisition) -> Acquisition {
        if self.zero {
            return acquisition.clone();
        }
        let mut lists = acquisition.lists.clone();
        if !acquisition.is_linear() && lists.b_tensors.is_none() {
            let nominal = (0..acquisition.len()).map(|i| acquisition.b_tensor(i));
            lists.b_tensors = Some(nominal.collect());
        }
        for i in (0..lists.b.len()).filter(|&i| acquisition.lists.b[i] > 0.0) {
            if acquisition.b_delta(i) == Some(1.0) {
                let g = self.turn(lists.directions[i]);
                let square = g[0] * g[0] + g[1] * g[1] + g[2] * g[2];
                let norm = square.sqrt();
                lists.b[i] *= square;
                lists.directions[i] = g.map(|c| c / norm);
                if let Some(tensors) = &mut lists.b_tensors {
                    tensors[i] = b_tensor::axisymmetric(lists.b[i], lists.directions[i], 1.0);
                }
                continue;
            }
            let tensor = self.congruent(acquisition.b_tensor(i));
            if let Some(of) = &mut lists.waveform_of {
                of[i] = 0;
            }
            // Congruence keeps eigenvalues from being negative, so there is a shape.
            if let (Ok(shape), Some(b_delta)) = (Shape::of(&tensor), &mut lists.b_delta) {
                lists.b[i] = shape.b;
                lists.directions[i] = shape.direction;
                b_delta[i] = shape.b_delta;
            }
            if let Some(tensors) = &mut lists.b_tensors {
                tensors[i] = tensor;
            }
        }
        Acquisition::grouped(lists)
    }

    /// $(I + L)\,B\,(I + L)^T$.
    fn congruent(&self, b: Symmetric) -> Symmetric {
        let rows = [[b[0], b[3], b[4]], [b[3], b[1], b[5]], [b[4], b[5], b[2]]];
        let half = rows.map(|row| self.turn(row));
        let element =
            |i: usize, j: usize| -> f64 { (0..3).map(|k| self.total[i][k] * half[k][j]).sum() };
        [element(0, 0), element(1, 1), element(2, 2), element(0, 1), element(0, 2), element(1, 2)]
    }
}
