//! The contract of a compartment, and the register of all of them.
//!
//! A compartment is named parameters, a signal family, and one function that
//! fills the coefficients of that family a shell at a time, with their
//! derivatives. The kernels do the rest; see CONTRIBUTING.md for how to add one.

use crate::acquisition::Shell;
use crate::compartments;
use crate::exchange::Karger;
use crate::orthotropic::OrthotropicSeries;
use crate::parameter::ParameterSpec;
use crate::spherical_mean;
use crate::zonal::{ZonalSeries, project};
use std::sync::Arc;

/// Which loops evaluate a compartment (see `microtome_kernels::family`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// One value a shell.
    Isotropic,
    /// $e^{-a_s - c_s (g\cdot\mu)^2}$.
    Quadratic,
    /// $e^{-B:D}$.
    Tensor,
    /// Any even function of $g\cdot\mu$, by its Legendre series.
    Zonal,
    /// A function that is even in the coordinates of a frame, by its harmonics.
    Orthotropic,
}

/// The coefficients of one compartment at one parameter set.
///
/// Derivatives are with respect to the scalar parameters in the order of
/// [`Compartment::parameters`].
#[derive(Debug, Clone, PartialEq)]
pub enum Coefficients {
    /// $E = v_s$.
    Isotropic {
        /// $v_s$ `[shell]`.
        value: Vec<f64>,
        /// $\partial v_s$ `[parameter, shell]`.
        d_value: Vec<f64>,
    },
    /// $E = e^{-a_s - c_s t^2}$.
    Quadratic {
        /// $a_s$ `[shell]`.
        a: Vec<f64>,
        /// $c_s$ `[shell]`.
        c: Vec<f64>,
        /// $\partial a_s$ `[parameter, shell]`.
        d_a: Vec<f64>,
        /// $\partial c_s$ `[parameter, shell]`.
        d_c: Vec<f64>,
    },
    /// $E = e^{-B:D}$.
    Tensor {
        /// $D$ as (xx, yy, zz, xy, xz, yz), µm²/ms.
        d: [f64; 6],
        /// $\partial D$, one row a scalar parameter.
        d_scalar: Vec<[f64; 6]>,
        /// $\partial D/\partial\mu$, one row a component of the axis.
        d_axis: [[f64; 6]; 3],
    },
    /// $E = \sum_k c_{s,k}P_{2k}(g\cdot\mu)$.
    Zonal(ZonalSeries),
    /// $E = \sum_{l,m} c_{s,l}B_{lm}H_{lm}(g)$.
    Orthotropic(Box<OrthotropicSeries>),
}

impl Coefficients {
    /// Zeroed coefficients of a family.
    pub fn new(family: Family, shells: &[Shell], parameters: usize) -> Self {
        let (row, table) = (vec![0.0; shells.len()], vec![0.0; shells.len() * parameters]);
        match family {
            Family::Zonal => Coefficients::Zonal(ZonalSeries::projected(shells, parameters)),
            Family::Orthotropic => Coefficients::Orthotropic(Box::new(OrthotropicSeries::new(
                shells,
                parameters.saturating_sub(3),
            ))),
            Family::Isotropic => Coefficients::Isotropic { value: row, d_value: table },
            Family::Quadratic => {
                Coefficients::Quadratic { a: row.clone(), c: row, d_a: table.clone(), d_c: table }
            }
            Family::Tensor => Coefficients::Tensor {
                d: [0.0; 6],
                d_scalar: vec![[0.0; 6]; parameters],
                d_axis: [[0.0; 6]; 3],
            },
        }
    }
}

/// What a tissue compartment must say of itself.
pub trait Compartment: Send + Sync + std::fmt::Debug {
    /// The name in model expressions and files.
    fn kind(&self) -> &str;

    /// The scalar parameters, in order.
    fn parameters(&self) -> &[ParameterSpec];

    /// Whether it has an axis `mu` (a unit vector).
    fn oriented(&self) -> bool;

    /// The loops that evaluate it.
    fn family(&self) -> Family;

    /// Whether δ and Δ must be known.
    fn needs_timing(&self) -> bool {
        false
    }

    /// Why there is no signal for the encoding of a shell, if there is none.
    ///
    /// By default a compartment has a signal for encoding along one direction, and
    /// for pairs of pulses only when it needs the timing. One whose formula holds
    /// for other encodings says so here; a compartment made of another one (its
    /// orientations dispersed, its sizes distributed) asks that one.
    fn refuses(&self, shell: &Shell) -> Option<&'static str> {
        if !shell.is_linear() {
            Some("has a signal for linear encoding (b_delta = 1) only")
        } else if self.needs_timing() && shell.waveform.is_some() {
            Some("is defined for pairs of pulses, not for free waveforms")
        } else {
            None
        }
    }

    /// Whether TR must be known.
    fn needs_repetition_time(&self) -> bool {
        false
    }

    /// Whether TE must be known.
    fn needs_echo_time(&self) -> bool {
        false
    }

    /// Room for the coefficients on these shells.
    fn coefficients(&self, shells: &[Shell]) -> Coefficients {
        Coefficients::new(self.family(), shells, self.parameters().len())
    }

    /// Fills `out` (made by [`Compartment::coefficients`]) for one parameter set.
    ///
    /// The default is for the zonal family: it projects [`Compartment::profile`].
    /// `out` may have room for more parameters behind those of this compartment,
    /// which belong to a modifier around it and stay as they are.
    ///
    /// # Shapes
    /// `scalars` in the order of [`Compartment::parameters`]; `mu` is a unit
    /// vector when [`Compartment::oriented`], else unused.
    fn lower(&self, shells: &[Shell], scalars: &[f64], _mu: [f64; 3], out: &mut Coefficients) {
        if let Coefficients::Zonal(series) = out {
            project(shells, series, &mut |shell, t, value, d_value| {
                self.profile(shell, scalars, t, value, d_value);
            });
        }
    }

    /// The signal of a zonal compartment on one shell with b > 0, at the cosines
    /// $t = g\cdot\mu$ in (0, 1); it is even in t. Other families leave it alone.
    ///
    /// # Shapes
    /// `t` and `value` `[node]`, `d_value` `[parameter, node]`; both arrive zeroed.
    fn profile(
        &self,
        _shell: &Shell,
        _scalars: &[f64],
        _t: &[f64],
        _value: &mut [f64],
        _d_value: &mut [f64],
    ) {
    }

    /// The mean of the signal over all directions, and its derivatives; the default
    /// follows from the coefficients.
    ///
    /// # Shapes
    /// `lowered` as [`Compartment::lower`] filled it for `scalars`; `value` `[shell]`,
    /// `d_value` `[parameter, shell]`.
    fn spherical_mean(
        &self,
        _shells: &[Shell],
        _scalars: &[f64],
        lowered: &Coefficients,
        value: &mut [f64],
        d_value: &mut [f64],
    ) {
        spherical_mean::of_coefficients(lowered, self.parameters().len(), value, d_value);
    }

    /// The same compartment with a free axis, for kinds that are taken along the
    /// gradient otherwise (`oriented = true` in a model file).
    fn with_axis(&self) -> Option<Arc<dyn Compartment>> {
        None
    }

    /// Reverses the axis without changing the signal; compartments that are not
    /// axisymmetric change other parameters with it.
    fn flip_axis(&self, _scalars: &mut [f64], mu: &mut [f64; 3]) {
        *mu = mu.map(|c| -c);
    }

    /// Brings equivalent parameter sets to one form without changing the signal
    /// (a tensor: falling diffusivities).
    fn canonicalise(&self, _scalars: &mut [f64], _mu: &mut [f64; 3]) {}

    /// The paper that defines it.
    fn reference(&self) -> &str;
}

/// What an axisymmetric compartment of Gaussian diffusion refuses.
pub(crate) fn needs_axis(shell: &Shell) -> Option<&'static str> {
    shell.b_delta.is_none().then_some(
        "needs b-tensors with an axis of symmetry (two eigenvalues equal to 1e-3 of b); `ball` and `tensor` take any",
    )
}

/// Every compartment there is: adding one is one line here.
pub fn register() -> Vec<Arc<dyn Compartment>> {
    let mut kinds: Vec<Arc<dyn Compartment>> = vec![
        Arc::new(compartments::Ball),
        Arc::new(compartments::Dot),
        Arc::new(compartments::Stick),
        Arc::new(compartments::Zeppelin),
        Arc::new(compartments::DiffusionTensor),
        Arc::new(compartments::TemporalZeppelin),
        Arc::new(compartments::CylinderSgp),
        Arc::new(compartments::CylinderCallaghan),
        Arc::new(compartments::CylinderGpd),
        Arc::new(compartments::CappedCylinderSgp),
        Arc::new(compartments::CappedCylinderCallaghan),
        Arc::new(compartments::SphereSgp),
        Arc::new(compartments::SphereCallaghan),
        Arc::new(compartments::SphereGpd),
        Arc::new(compartments::PlaneSgp::default()),
        Arc::new(compartments::PlaneCallaghan::default()),
        Arc::new(compartments::CylinderExact),
        Arc::new(compartments::SphereExact),
        Arc::new(compartments::PlaneExact::default()),
    ];
    let (stick, zeppelin) = (Arc::new(compartments::Stick), Arc::new(compartments::Zeppelin));
    kinds.extend(Karger::new(stick, zeppelin).map(|k| Arc::new(k) as Arc<dyn Compartment>));
    kinds
}

/// The compartment of a kind.
pub fn by_kind(kind: &str) -> Option<Arc<dyn Compartment>> {
    register().into_iter().find(|c| c.kind() == kind)
}
