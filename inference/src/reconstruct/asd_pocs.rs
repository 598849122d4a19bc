//! Projections onto convex sets with an adaptive descent of the total variation.
//!
//! $$\min_x \mathrm{TV}(x)\quad\text{subject to}\quad \|y-Ax\|_W \le \epsilon,\ \ell\le x\le u$$
//!
//! An iteration is a pass of SART with relaxation $\beta$ and the bounds, which move the image
//! by $d_p$, then `tv_iterations` steps of descent of length $h$, which move it by $d_g$. At
//! first $h = \alpha d_p$; afterwards $h \leftarrow 0.95\,h$ whenever $d_g > 0.95\,d_p$ while
//! $\|y-Ax\|_W > \epsilon$, and $\beta \leftarrow 0.995\,\beta$. The residual is that of the
//! image before the descent.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\epsilon$ | as $\|y\|_W$ | what the data may be missed by: `data_tolerance`, else $\sqrt m$ with weights, else $\hat\sigma\sqrt m$ of the noise found in the projections |
//! | $\alpha$ | 1 | `tv_step`, 0.02 (see `tv_pocs.rs`) |
//!
//! Source: Sidky & Pan 2008, doi:10.1088/0031-9155/53/17/021 (pseudo-code of section 2.3 and
//! its constants). Validated by `pocs_methods_lower_the_variation` in
//! `inference/tests/suite/reconstruct/`.

use super::block_pass::BlockPass;
use super::noise::noise_level;
use super::tv_descent::Descent;
use super::tv_pocs::{distance, subsets};
use super::vector::each2;
use super::{Method, Problem, ReconstructError, Settings, StateVisitor, Step};
use microtome_kernels::ray::Real;
use microtome_kernels::variation::total_variation;

/// $d_g/d_p$ above which the descent is shortened, and by what.
const LARGEST_RATIO: f64 = 0.95;
const SHORTER: f64 = 0.95;
/// Factor of the relaxation after a pass.
const RELAXATION_FACTOR: f64 = 0.995;

/// The state; also that of AwTV-POCS, which has adaptive weights.
pub(super) struct AsdPocs<T> {
    x: Vec<T>,
    /// $\beta$, $h$ and $\delta$, negative before they are known.
    numbers: [f64; 3],
    adaptive: bool,
    tolerance: f64,
    settings: Settings,
    blocks: BlockPass<T>,
    descent: Descent<T>,
    before: Vec<T>,
    rays: Vec<T>,
}

impl<T: Real> AsdPocs<T> {
    pub(super) fn new(
        method: &'static str,
        problem: &Problem<'_, T>,
        settings: &Settings,
        adaptive: bool,
    ) -> Result<Self, ReconstructError> {
        let x = problem.first();
        let size = (problem.n_counted() as f64).sqrt();
        let tolerance = settings.data_tolerance.unwrap_or_else(|| match problem.weights {
            Some(_) => size,
            None => noise_level(problem) * size,
        });
        Ok(Self {
            before: x.clone(),
            x,
            numbers: [settings.relaxation, -1.0, settings.edge.unwrap_or(-1.0)],
            adaptive,
            tolerance,
            settings: settings.clone(),
            blocks: BlockPass::new(method, problem, subsets(problem, settings))?,
            descent: Descent::new(problem)?,
            rays: vec![T::default(); problem.projections.len()],
        })
    }
}

impl<T: Real> Method<T> for AsdPocs<T> {
    fn step(&mut self, problem: &Problem<'_, T>) -> Result<Step, ReconstructError> {
        self.before.copy_from_slice(&self.x);
        self.blocks.pass(problem, &mut self.x, self.numbers[0])?;
        problem.forward(&self.x, &mut self.rays)?;
        each2(&mut self.rays, problem.projections, |ax, y| y - ax);
        let residual_norm = problem.residual_norm(&self.rays);
        let by_data = distance(&self.x, &self.before);
        if self.numbers[1] < 0.0 {
            self.numbers[1] = self.settings.tv_step * by_data;
        }
        if self.adaptive && self.numbers[2] < 0.0 {
            self.numbers[2] = self.descent.edge(&self.x);
        }
        let [beta, step, edge] = self.numbers;
        self.before.copy_from_slice(&self.x);
        let edge = self.adaptive.then_some(edge);
        self.descent.descend(&mut self.x, self.settings.tv_iterations, step, edge);
        let by_descent = distance(&self.x, &self.before);
        if by_descent > LARGEST_RATIO * by_data && residual_norm > self.tolerance {
            self.numbers[1] *= SHORTER;
        }
        self.numbers[0] = beta * self.settings.relaxation_factor.unwrap_or(RELAXATION_FACTOR);
        problem.clip(&mut self.x);
        let objective = total_variation(self.descent.lattice(), &self.x);
        Ok(Step { residual_norm, objective, step })
    }

    fn image(&self) -> &[T] {
        &self.x
    }

    fn visit(&mut self, visitor: &mut dyn StateVisitor<T>) {
        visitor.numbers("relaxation, descent, edge", &mut self.numbers);
        visitor.array("x", &mut self.x);
    }
}
