//! The kernels of the tensors' device, as functions of tensors.

use super::lanes::Scalar;
use super::{cpu, Direction, RawSpline, Sizes};
use crate::cuda::spline as gpu;
use crate::ffi::memory::{slice, slice_mut};
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// One call with its raw numbers, contiguous.
pub struct Call {
    sizes: Sizes,
    direction: Direction,
    tail: f64,
    raw: [Tensor; 3],
}

impl Call {
    pub fn new(raw: &RawSpline<'_>, sizes: &Sizes, direction: Direction) -> Result<Self> {
        Ok(Self {
            sizes: *sizes,
            direction,
            tail: raw.tail,
            raw: [
                raw.widths.f_contiguous()?,
                raw.heights.f_contiguous()?,
                raw.derivatives.f_contiguous()?,
            ],
        })
    }

    /// Value and log-det.
    pub fn forward(&self, x: &Tensor) -> Result<[Tensor; 2]> {
        let x = x.f_contiguous()?;
        let options = (x.kind(), x.device());
        let mut value = Tensor::f_empty(x.size(), options)?;
        let mut log_det = Tensor::f_zeros([self.sizes.samples as i64], options)?;
        if x.numel() == 0 {
            return Ok([value, log_det]);
        }
        match options {
            (Kind::Float, Device::Cpu) => {
                self.forward_on_cpu::<f32>(&x, &mut value, &mut log_det)?
            }
            (Kind::Double, Device::Cpu) => {
                self.forward_on_cpu::<f64>(&x, &mut value, &mut log_det)?
            }
            (_, Device::Cuda(_)) => {
                gpu::forward(&self.on_gpu(), &x, [&value, &log_det])?;
            }
            (kind, device) => return Err(no_kernel(kind, device)),
        }
        Ok([value, log_det])
    }

    /// Gradients of the element and of the three raw tensors, at `x`: the input of the forward direction, the output
    /// of the inverse one.
    pub fn backward(
        &self,
        x: &Tensor,
        value_grad: Option<&Tensor>,
        log_det_grad: Option<&Tensor>,
    ) -> Result<[Tensor; 4]> {
        let x = x.f_contiguous()?;
        let or_zeros = |grad: Option<&Tensor>, size: &[i64]| match grad {
            Some(grad) => grad.f_contiguous(),
            None => Tensor::f_zeros(size, (x.kind(), x.device())),
        };
        let value_grad = or_zeros(value_grad, &x.size())?;
        let log_det_grad = or_zeros(log_det_grad, &[self.sizes.samples as i64])?;
        let mut x_grad = x.f_empty_like()?;
        let mut raw_grads = [
            self.raw[0].f_zeros_like()?,
            self.raw[1].f_zeros_like()?,
            self.raw[2].f_zeros_like()?,
        ];
        if x.numel() > 0 {
            let incoming = [&value_grad, &log_det_grad];
            match (x.kind(), x.device()) {
                (Kind::Float, Device::Cpu) => {
                    self.backward_on_cpu::<f32>(&x, incoming, &mut x_grad, &mut raw_grads)?;
                }
                (Kind::Double, Device::Cpu) => {
                    self.backward_on_cpu::<f64>(&x, incoming, &mut x_grad, &mut raw_grads)?;
                }
                (_, Device::Cuda(_)) => {
                    gpu::backward(&self.on_gpu(), &x, incoming, &x_grad, &raw_grads)?;
                }
                (kind, device) => return Err(no_kernel(kind, device)),
            }
        }
        let [widths, heights, derivatives] = raw_grads;
        Ok([x_grad, widths, heights, derivatives])
    }

    fn on_gpu(&self) -> gpu::Raw<'_> {
        gpu::Raw {
            sizes: &self.sizes,
            direction: self.direction,
            tail: self.tail,
            tensors: &self.raw,
        }
    }

    fn raw_slices<T: Scalar>(&self) -> Result<[&[T]; 3]> {
        Ok([
            slice(&self.raw[0])?,
            slice(&self.raw[1])?,
            slice(&self.raw[2])?,
        ])
    }

    fn forward_on_cpu<T: Scalar>(
        &self,
        x: &Tensor,
        value: &mut Tensor,
        log_det: &mut Tensor,
    ) -> Result<()> {
        let spline = cpu::Spline::new(
            &self.sizes,
            self.direction,
            self.tail,
            self.raw_slices::<T>()?,
        );
        spline.forward(slice::<T>(x)?, slice_mut(value)?, slice_mut(log_det)?);
        Ok(())
    }

    fn backward_on_cpu<T: Scalar>(
        &self,
        x: &Tensor,
        [value_grad, log_det_grad]: [&Tensor; 2],
        x_grad: &mut Tensor,
        [widths, heights, derivatives]: &mut [Tensor; 3],
    ) -> Result<()> {
        let spline = cpu::Spline::new(
            &self.sizes,
            self.direction,
            self.tail,
            self.raw_slices::<T>()?,
        );
        let raw_grads: [&mut [T]; 3] = [
            slice_mut(widths)?,
            slice_mut(heights)?,
            slice_mut(derivatives)?,
        ];
        spline.backward(
            slice(x)?,
            [slice(value_grad)?, slice(log_det_grad)?],
            slice_mut(x_grad)?,
            raw_grads,
        );
        Ok(())
    }
}

fn no_kernel(kind: Kind, device: Device) -> Error {
    Error::argument(
        "spline",
        "x",
        format!("must be on the CPU or a GPU, got {kind:?} on {device:?}"),
    )
}
