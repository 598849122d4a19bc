//! One file a compartment.

mod ball;
mod dot;
mod stick;
mod tensor;
mod zeppelin;

pub use ball::Ball;
pub use dot::Dot;
pub use stick::Stick;
pub use tensor::DiffusionTensor;
pub use zeppelin::Zeppelin;
