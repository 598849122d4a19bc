//! The iterative methods by name, and their settings.

use super::{Method, Problem, ReconstructError, sirt::Sirt};
use microtome_kernels::ray::Real;

/// An iterative method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Simultaneous iterative reconstruction.
    Sirt,
}

/// How a method goes about it; what a method does not know it leaves alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Factor of the update of the SIRT and SART families, above 0 and below 2.
    pub relaxation: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { relaxation: 1.0 }
    }
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 1] = [Algorithm::Sirt];

    /// The name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sirt => "sirt",
        }
    }

    /// The method of a name.
    ///
    /// # Errors
    /// An unknown name.
    pub fn parse(name: &str) -> Result<Self, ReconstructError> {
        let found = Self::ALL.into_iter().find(|m| m.name() == name);
        found.ok_or_else(|| ReconstructError::UnknownMethod {
            method: name.into(),
            known: Self::ALL.map(Algorithm::name).join(", "),
        })
    }

    /// Iterations where the user says nothing.
    pub fn default_iterations(self) -> usize {
        match self {
            Algorithm::Sirt => 200,
        }
    }

    /// Whether voxels can be kept between bounds.
    pub fn takes_bounds(self) -> bool {
        true
    }

    /// The method before its first step.
    ///
    /// # Errors
    /// Settings out of range, bounds for a method without, an operator or projections that
    /// the method can't take, a volume that no ray meets.
    pub fn begin<T: Real>(
        self,
        problem: &Problem<'_, T>,
        settings: &Settings,
    ) -> Result<Box<dyn Method<T>>, ReconstructError> {
        let relaxes = settings.relaxation > 0.0 && settings.relaxation < 2.0;
        if !relaxes {
            let problem = format!("{}; above 0 and below 2 is needed", settings.relaxation);
            return Err(ReconstructError::setting("relaxation", problem));
        }
        Ok(match self {
            Algorithm::Sirt => Box::new(Sirt::new(problem, settings)?),
        })
    }
}
