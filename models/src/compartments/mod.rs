//! One file a compartment.

mod ball;
mod cylinder_exact;
mod dot;
mod plane_exact;
mod sphere_exact;
mod stick;
mod tensor;
mod zeppelin;

pub use ball::Ball;
pub use cylinder_exact::CylinderExact;
pub use dot::Dot;
pub use plane_exact::PlaneExact;
pub use sphere_exact::SphereExact;
pub use stick::Stick;
pub use tensor::DiffusionTensor;
pub use zeppelin::Zeppelin;
