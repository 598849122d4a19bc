//! Projectors as Candle ops: the derivative of each is the other.
//!
//! | op | value | gradient |
//! |---|---|---|
//! | [`project`] | $Ax$ | $A^Tg$ |
//! | [`backproject`] | $A^Ty$ | $Ag$ |
//! | [`normal_product`] | $A^TWAx$ | $A^TWAg$ |
//! | [`project_pose`] | $p(x,\theta)$ | $A_\theta^Tg$ and $J^Tg$ |
//!
//! They hold for every projector of a [`RayTransform`]. Arithmetic is that of the type of the
//! tensors, f32 or f64, on the CPU.
//!
//! Second derivatives: Candle detaches the gradients that enter a backward pass, so that a
//! gradient of a gradient is silently wrong. For a loss $\frac12\|W^{1/2}(Ax-y)\|^2$ the
//! product of the Hessian with a vector is [`normal_product`]; for poses the Gauss-Newton
//! matrix $J^TJ$ is [`super::PoseModel::losses`].
//!
//! Validated by `models/tests/suite/ct_graph.rs`.

use super::{CtError, PoseModel, RayTransform, batch_forward_project};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Error, Layout, Result, Shape, Tensor};
use std::sync::Arc;

/// The numbers of a contiguous storage.
fn part<'a, T>(values: &'a [T], layout: &Layout) -> Result<&'a [T]> {
    let (start, end) = layout.contiguous_offsets().ok_or_else(|| {
        Error::Msg("microtome op: inputs must be contiguous; call .contiguous() first".into())
    })?;
    Ok(&values[start..end])
}

fn expect_shape(what: &str, layout: &Layout, shape: &[usize]) -> Result<()> {
    if layout.dims() == shape {
        return Ok(());
    }
    let found = layout.dims();
    Err(Error::Msg(format!("microtome op: {what} has the shape {found:?}, not {shape:?}")))
}

fn wrong_type() -> Error {
    Error::Msg("microtome op: tensors must be f64 or f32 on the CPU".into())
}

fn wrap<T>(found: std::result::Result<T, CtError>) -> Result<T> {
    found.map_err(Error::wrap)
}

/// The linear maps of a transform.
#[derive(Clone)]
enum Map {
    Project(Arc<RayTransform>),
    Backproject(Arc<RayTransform>),
    /// With the weights of the projections.
    Normal(Arc<RayTransform>, Arc<Vec<f64>>),
}

impl Map {
    fn transform(&self) -> &RayTransform {
        match self {
            Map::Project(a) | Map::Backproject(a) | Map::Normal(a, _) => a,
        }
    }

    /// Shapes of input and output.
    fn shapes(&self) -> [Vec<usize>; 2] {
        let a = self.transform();
        let (volume, projections) = (a.volume().shape(), a.geometry().shape());
        match self {
            Map::Project(_) => [volume, projections],
            Map::Backproject(_) => [projections, volume],
            Map::Normal(..) => [volume.clone(), volume],
        }
    }

    fn transposed(&self) -> Self {
        match self {
            Map::Project(a) => Map::Backproject(a.clone()),
            Map::Backproject(a) => Map::Project(a.clone()),
            Map::Normal(..) => self.clone(),
        }
    }

    fn of<T: microtome_kernels::ray::Real>(&self, input: &[T]) -> Result<Vec<T>> {
        let a = self.transform();
        wrap(match self {
            Map::Project(_) => a.apply(input),
            Map::Backproject(_) => a.adjoint(input),
            Map::Normal(_, weights) => a.apply(input).and_then(|mut y| {
                for (y, w) in y.iter_mut().zip(weights.iter()) {
                    *y = T::narrow(y.wide() * w);
                }
                a.adjoint(&y)
            }),
        })
    }
}

impl CustomOp1 for Map {
    fn name(&self) -> &'static str {
        match self {
            Map::Project(_) => "microtome-project",
            Map::Backproject(_) => "microtome-backproject",
            Map::Normal(..) => "microtome-normal-product",
        }
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let [from, to] = self.shapes();
        expect_shape(self.name(), layout, &from)?;
        let out = match input {
            CpuStorage::F32(v) => CpuStorage::F32(self.of(part(v, layout)?)?),
            CpuStorage::F64(v) => CpuStorage::F64(self.of(part(v, layout)?)?),
            _ => return Err(wrong_type()),
        };
        Ok((out, Shape::from(to)))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(grad.contiguous()?.apply_op1(self.transposed())?))
    }
}

/// Projections $Ax$ of a volume.
///
/// # Shapes
/// `volume` `[z, y, x]` or `[y, x]`, result `[view, v, u]` or `[view, u]`.
///
/// # Errors
/// Another shape, a type other than f64 and f32.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use microtome_kernels::ray::Projector;
/// use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid, graph};
/// use std::sync::Arc;
/// let volume = VolumeGrid::new(&[8, 8], &[1.0, 1.0], &[0.0, 0.0])?;
/// let path = TrajectorySpec::circular(6, &[1.0]);
/// let geometry = path.geometry(GeometryKind::Parallel2d, [1, 12])?;
/// let a = Arc::new(RayTransform::new(geometry, volume, Projector::Joseph)?);
/// let x = Var::ones((8, 8), candle_core::DType::F64, &Device::Cpu)?;
/// let loss = graph::project(&a, &x)?.sum_all()?;
/// let gradient = loss.backward()?;
/// let g = gradient.get(&x).unwrap().flatten_all()?.to_vec1::<f64>()?;
/// assert_eq!(g, a.column_sums::<f64>()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn project(transform: &Arc<RayTransform>, volume: &Tensor) -> Result<Tensor> {
    volume.contiguous()?.apply_op1(Map::Project(transform.clone()))
}

/// The transpose $A^Ty$ of projections.
///
/// # Shapes
/// As for [`project`], the other way round.
///
/// # Errors
/// As for [`project`].
pub fn backproject(transform: &Arc<RayTransform>, projections: &Tensor) -> Result<Tensor> {
    projections.contiguous()?.apply_op1(Map::Backproject(transform.clone()))
}

/// $A^TWAx$ with diagonal weights: the Hessian of $\frac12\|W^{1/2}(Ax-y)\|^2$ times `x`.
///
/// # Shapes
/// `x` and result `[z, y, x]` or `[y, x]`; `weights` `[view, v, u]` or `[view, u]`, no
/// gradient goes to them.
///
/// # Errors
/// As for [`project`].
pub fn normal_product(
    transform: &Arc<RayTransform>,
    weights: &Tensor,
    x: &Tensor,
) -> Result<Tensor> {
    if weights.dims() != transform.geometry().shape() {
        let (found, shape) = (weights.dims(), transform.geometry().shape());
        let what = format!("microtome op: weights have the shape {found:?}, not {shape:?}");
        return Err(Error::Msg(what));
    }
    let weights = weights.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    x.contiguous()?.apply_op1(Map::Normal(transform.clone(), Arc::new(weights)))
}

struct Pose(Arc<PoseModel>);

impl Pose {
    fn numbers(&self, storage: &CpuStorage, layout: &Layout) -> Result<Vec<f64>> {
        expect_shape("poses", layout, &[self.0.n_views(), self.0.parameters().len()])?;
        match storage {
            CpuStorage::F64(v) => Ok(part(v, layout)?.to_vec()),
            CpuStorage::F32(v) => Ok(part(v, layout)?.iter().map(|v| f64::from(*v)).collect()),
            _ => Err(wrong_type()),
        }
    }

    /// $A_\theta^Tg$ and $J^Tg$.
    fn back<T: microtome_kernels::ray::Real + candle_core::WithDType>(
        &self,
        volume: &Tensor,
        thetas: &[f64],
        grad: &Tensor,
    ) -> Result<(Tensor, Vec<f64>)> {
        let x = volume.flatten_all()?.to_vec1::<T>()?;
        let g = grad.flatten_all()?.to_vec1::<T>()?;
        let mut back = vec![T::default(); x.len()];
        wrap(self.0.back(thetas, &g, &mut back))?;
        let poses = wrap(self.0.pullback(thetas, &x, &g))?;
        Ok((Tensor::from_vec(back, volume.shape(), volume.device())?, poses))
    }
}

impl CustomOp2 for Pose {
    fn name(&self) -> &'static str {
        "microtome-project-pose"
    }

    fn cpu_fwd(
        &self,
        volume: &CpuStorage,
        layout: &Layout,
        thetas: &CpuStorage,
        of_thetas: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let model = &self.0;
        expect_shape("the volume", layout, &model.volume().shape())?;
        let thetas = self.numbers(thetas, of_thetas)?;
        let out = match volume {
            CpuStorage::F32(v) => {
                CpuStorage::F32(wrap(batch_forward_project(model, &thetas, part(v, layout)?))?)
            }
            CpuStorage::F64(v) => {
                CpuStorage::F64(wrap(batch_forward_project(model, &thetas, part(v, layout)?))?)
            }
            _ => return Err(wrong_type()),
        };
        Ok((out, Shape::from(model.shape())))
    }

    fn bwd(
        &self,
        volume: &Tensor,
        thetas: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let at = thetas.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let (of_volume, of_poses) = match volume.dtype() {
            DType::F32 => self.back::<f32>(volume, &at, grad)?,
            DType::F64 => self.back::<f64>(volume, &at, grad)?,
            _ => return Err(wrong_type()),
        };
        let of_poses = Tensor::from_vec(of_poses, thetas.shape(), thetas.device())?;
        Ok((Some(of_volume), Some(of_poses.to_dtype(thetas.dtype())?)))
    }
}

/// Projections of a volume at given poses, differentiable with respect to both.
///
/// # Shapes
/// `volume` `[z, y, x]`, `thetas` `[view, parameter]`, result `[view, v, u]`.
///
/// # Errors
/// Other shapes, types other than f64 and f32, poses that are not finite.
pub fn project_pose(model: &Arc<PoseModel>, volume: &Tensor, thetas: &Tensor) -> Result<Tensor> {
    volume.contiguous()?.apply_op2(&thetas.contiguous()?, Pose(model.clone()))
}
