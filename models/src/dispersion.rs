//! Orientation dispersion: an axisymmetric compartment averaged over a
//! distribution of axes.
//!
//! $$E(g) = \int_{S^2} p(n\,|\,\mu)\,E_0(g\cdot n)\,dn$$
//!
//! On the sphere this is a convolution, so each Legendre coefficient of the
//! compartment is multiplied by one of the distribution.

mod watson;

pub use watson::WatsonDispersed;
