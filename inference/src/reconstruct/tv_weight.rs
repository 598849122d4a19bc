//! The weight of the total variation where none is given.

use super::{Problem, ReconstructError, Settings};
use microtome_kernels::ray::Real;

pub(super) fn resolve<T: Real>(
    problem: &Problem<'_, T>,
    settings: &Settings,
) -> Result<f64, ReconstructError> {
    match settings.tv_weight {
        Some(weight) => Ok(weight),
        None => {
            let _ = problem;
            Err(ReconstructError::setting("tv_weight", "a value is needed"))
        }
    }
}
