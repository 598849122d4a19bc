//! Least squares by Golub-Kahan bidiagonalisation.
//!
//! With $B = W^{1/2}A$ and $b = W^{1/2}(y-Ax_0)$:
//!
//! $$\beta u \leftarrow Bv - \alpha u,\quad \alpha v \leftarrow B^Tu - \beta v,\quad
//!   x \leftarrow x + \frac{\varphi}{\rho}\,w,\quad w \leftarrow v - \frac{\theta}{\rho}\,w$$
//!
//! with $\rho = (\bar\rho^2+\beta^2)^{1/2}$, $c = \bar\rho/\rho$, $s = \beta/\rho$,
//! $\theta = s\alpha$, $\bar\rho \leftarrow -c\alpha$, $\varphi = c\bar\varphi$,
//! $\bar\varphi \leftarrow s\bar\varphi$. In exact arithmetic the iterates are those of
//! CGLS; where $A$ is ill-conditioned rounding hurts less. The residual norm is
//! $\bar\varphi$.
//!
//! Source: Paige & Saunders 1982, doi:10.1145/355984.355989, section 4. Validated by
//! `cgls_and_lsqr_find_the_least_squares_solution` in `inference/tests/suite/reconstruct/`.

use super::cgls::check_rays;
use super::vector::{each, each2, norm};
use super::{Method, Problem, ReconstructError, StateVisitor, Step};
use microtome_kernels::ray::Real;

/// The state.
pub(super) struct Lsqr<T> {
    x: Vec<T>,
    u: Vec<T>,
    v: Vec<T>,
    w: Vec<T>,
    /// $\alpha, \bar\rho, \bar\varphi$.
    scalars: [f64; 3],
    rays: Vec<T>,
    update: Vec<T>,
}

/// $W^{1/2}r$ in place.
fn whiten<T: Real>(problem: &Problem<'_, T>, r: &mut [T]) {
    if let Some(w) = problem.weights {
        each2(r, w, |r, w| w.sqrt() * r);
    }
}

/// Scales to length 1; returns the length before.
fn normalise<T: Real>(v: &mut [T]) -> f64 {
    let size = norm(v);
    if size > 0.0 {
        each(v, |v| v / size);
    }
    size
}

impl<T: Real> Lsqr<T> {
    pub(super) fn new(problem: &Problem<'_, T>) -> Result<Self, ReconstructError> {
        let x = problem.first();
        let mut u = vec![T::default(); problem.projections.len()];
        if problem.start.is_some() {
            problem.forward(&x, &mut u)?;
        }
        each2(&mut u, problem.projections, |ax, y| y - ax);
        whiten(problem, &mut u);
        let beta = normalise(&mut u);
        let mut rays = u.clone();
        whiten(problem, &mut rays);
        let mut v = vec![T::default(); x.len()];
        problem.transpose(&rays, &mut v)?;
        let alpha = normalise(&mut v);
        if alpha == 0.0 {
            check_rays(problem)?;
        }
        let (w, update) = (v.clone(), v.clone());
        Ok(Self { x, u, v, w, scalars: [alpha, alpha, beta], rays, update })
    }
}

impl<T: Real> Method<T> for Lsqr<T> {
    fn step(&mut self, problem: &Problem<'_, T>) -> Result<Step, ReconstructError> {
        let [alpha, rho_bar, phi_bar] = self.scalars;
        let mut step = 0.0;
        // At the solution there is nothing to do.
        if alpha > 0.0 && phi_bar > 0.0 {
            problem.forward(&self.v, &mut self.rays)?;
            whiten(problem, &mut self.rays);
            each2(&mut self.u, &self.rays, |u, q| q - alpha * u);
            let beta = normalise(&mut self.u);
            self.rays.copy_from_slice(&self.u);
            whiten(problem, &mut self.rays);
            problem.transpose(&self.rays, &mut self.update)?;
            each2(&mut self.v, &self.update, |v, g| g - beta * v);
            let alpha = normalise(&mut self.v);
            let rho = rho_bar.hypot(beta);
            let (c, s) = (rho_bar / rho, beta / rho);
            let (theta, phi) = (s * alpha, c * phi_bar);
            self.scalars = [alpha, -c * alpha, s * phi_bar];
            step = phi / rho;
            each2(&mut self.x, &self.w, |x, w| x + step * w);
            let factor = theta / rho;
            each2(&mut self.w, &self.v, |w, v| v - factor * w);
        }
        let residual_norm = self.scalars[2].abs();
        Ok(Step { residual_norm, objective: 0.5 * residual_norm * residual_norm, step })
    }

    fn image(&self) -> &[T] {
        &self.x
    }

    fn visit(&mut self, visitor: &mut dyn StateVisitor<T>) {
        visitor.numbers("scalars", &mut self.scalars);
        for (name, array) in
            [("x", &mut self.x), ("u", &mut self.u), ("v", &mut self.v), ("w", &mut self.w)]
        {
            visitor.array(name, array);
        }
    }
}
