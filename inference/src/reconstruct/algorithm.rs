//! The iterative methods by name, and their settings.

use super::asd_pocs::AsdPocs;
use super::cgls::Cgls;
use super::fista_tv::FistaTv;
use super::lsqr::Lsqr;
use super::mlem::Mlem;
use super::osem::Osem;
use super::pdhg_tv::PdhgTv;
use super::sart::Sart;
use super::sirt::Sirt;
use super::tv_pocs::TvPocs;
use super::{Method, Problem, ReconstructError, awtv_pocs, os_sart};
use microtome_kernels::ray::Real;

/// An iterative method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Simultaneous iterative reconstruction.
    Sirt,
    /// Simultaneous algebraic reconstruction, view by view.
    Sart,
    /// SART over subsets of views.
    OsSart,
    /// Conjugate gradients on the normal equations.
    Cgls,
    /// Least squares by bidiagonalisation.
    Lsqr,
    /// Maximum likelihood of Poisson means.
    Mlem,
    /// The same over subsets of views.
    Osem,
    /// Projections onto convex sets and descent of the total variation.
    TvPocs,
    /// The same with an adaptive descent.
    AsdPocs,
    /// The same with weights that spare edges.
    AwtvPocs,
    /// Least squares and total variation by proximal gradients.
    FistaTv,
    /// Least squares and total variation by a primal-dual method.
    PdhgTv,
}

/// How a method goes about it; what a method does not know it leaves alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Factor of the update of the SIRT, SART and POCS families, above 0 and below 2.
    pub relaxation: f64,
    /// Factor of the relaxation after every pass of the SART and POCS families, above 0 and
    /// at most 1; the method's own where left out (0.995 for ASD-POCS and AwTV-POCS, else 1).
    pub relaxation_factor: Option<f64>,
    /// Subsets of views; where left out, the views of SART and the POCS family, and about
    /// the root of their number for OS-SART and OSEM.
    pub subsets: Option<usize>,
    /// Weight of the total variation of FISTA-TV and PDHG-TV; by the rule of
    /// [`default_tv_weight`](super::default_tv_weight) where left out.
    pub tv_weight: Option<f64>,
    /// Length of the descent of the POCS family as a share of what the data moved.
    pub tv_step: f64,
    /// Steps of descent of the POCS family, and inner steps of FISTA-TV; at least 1.
    pub tv_iterations: usize,
    /// $\|y-Ax\|_W$ that ASD-POCS and AwTV-POCS strive for; by the noise where left out.
    pub data_tolerance: Option<f64>,
    /// Differences of voxels that AwTV-POCS spares; by the image where left out.
    pub edge: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            relaxation: 1.0,
            relaxation_factor: None,
            subsets: None,
            tv_weight: None,
            tv_step: 0.02,
            tv_iterations: 20,
            data_tolerance: None,
            edge: None,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), ReconstructError> {
        let wrong = |setting, found: f64, needs: &str| {
            Err(ReconstructError::setting(setting, format!("{found}; {needs} is needed")))
        };
        // Comparisons that are also false for NaN.
        if !(self.relaxation > 0.0 && self.relaxation < 2.0) {
            return wrong("relaxation", self.relaxation, "a number above 0 and below 2");
        }
        if let Some(f) = self.relaxation_factor.filter(|f| !(*f > 0.0 && *f <= 1.0)) {
            return wrong("relaxation_factor", f, "a number above 0 and at most 1");
        }
        let finite = |v: f64| (0.0..f64::INFINITY).contains(&v);
        for (name, value) in [
            ("tv_weight", self.tv_weight),
            ("tv_step", Some(self.tv_step)),
            ("data_tolerance", self.data_tolerance),
        ] {
            if let Some(v) = value.filter(|v| !finite(*v)) {
                return wrong(name, v, "a finite number of at least 0");
            }
        }
        if let Some(v) = self.edge.filter(|v| !(finite(*v) && *v > 0.0)) {
            return wrong("edge", v, "a finite number above 0");
        }
        if self.tv_iterations == 0 {
            return wrong("tv_iterations", 0.0, "at least 1");
        }
        Ok(())
    }
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 12] = [
        Algorithm::Sirt,
        Algorithm::Sart,
        Algorithm::OsSart,
        Algorithm::Cgls,
        Algorithm::Lsqr,
        Algorithm::Mlem,
        Algorithm::Osem,
        Algorithm::TvPocs,
        Algorithm::AsdPocs,
        Algorithm::AwtvPocs,
        Algorithm::FistaTv,
        Algorithm::PdhgTv,
    ];

    /// The name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sirt => "sirt",
            Algorithm::Sart => "sart",
            Algorithm::OsSart => "os_sart",
            Algorithm::Cgls => "cgls",
            Algorithm::Lsqr => "lsqr",
            Algorithm::Mlem => "mlem",
            Algorithm::Osem => "osem",
            Algorithm::TvPocs => "tv_pocs",
            Algorithm::AsdPocs => "asd_pocs",
            Algorithm::AwtvPocs => "awtv_pocs",
            Algorithm::FistaTv => "fista_tv",
            Algorithm::PdhgTv => "pdhg_tv",
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
            Algorithm::Cgls | Algorithm::Lsqr | Algorithm::Sart | Algorithm::OsSart => 20,
            Algorithm::Osem => 20,
            Algorithm::TvPocs | Algorithm::AsdPocs | Algorithm::AwtvPocs => 50,
            Algorithm::Mlem => 100,
            Algorithm::Sirt | Algorithm::FistaTv => 200,
            Algorithm::PdhgTv => 400,
        }
    }

    /// Whether voxels can be kept between bounds: not by the methods of Krylov spaces.
    pub fn takes_bounds(self) -> bool {
        !matches!(self, Algorithm::Cgls | Algorithm::Lsqr)
    }

    /// Whether it minimises a sum of squares and the total variation with a weight.
    pub fn takes_tv_weight(self) -> bool {
        matches!(self, Algorithm::FistaTv | Algorithm::PdhgTv)
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
        settings.check()?;
        if problem.is_bounded() && !self.takes_bounds() {
            let problem =
                format!("{} can't keep bounds; use sirt, fista_tv or pdhg_tv", self.name());
            return Err(ReconstructError::setting("bounds", problem));
        }
        let views = problem.all_views.len();
        Ok(match self {
            Algorithm::Sirt => Box::new(Sirt::new(problem, settings)?),
            Algorithm::Sart => Box::new(Sart::new("sart", problem, settings, views)?),
            Algorithm::OsSart => Box::new(os_sart::new(problem, settings)?),
            Algorithm::Cgls => Box::new(Cgls::new(problem)?),
            Algorithm::Lsqr => Box::new(Lsqr::new(problem)?),
            Algorithm::Mlem => Box::new(Mlem::new(problem)?),
            Algorithm::Osem => Box::new(Osem::new(problem, settings)?),
            Algorithm::TvPocs => Box::new(TvPocs::new(problem, settings)?),
            Algorithm::AsdPocs => Box::new(AsdPocs::new("asd_pocs", problem, settings, false)?),
            Algorithm::AwtvPocs => Box::new(awtv_pocs::new(problem, settings)?),
            Algorithm::FistaTv => Box::new(FistaTv::new(problem, settings)?),
            Algorithm::PdhgTv => Box::new(PdhgTv::new(problem, settings)?),
        })
    }
}
