//! Launches of the spline's kernels.

use super::plan::{spline_plan, SplinePlan};
use crate::cuda::current::launch_all;
use crate::cuda::tensors::{address, expect, workspace};
use crate::problem::spline::SplineSizes;
use crate::problem::Direction;
use crate::words::counted;
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// One call: its sizes, and its raw numbers (widths, heights, derivatives).
pub(crate) struct SplineOnGpu<'a> {
    pub sizes: SplineSizes,
    pub direction: Direction,
    pub tail: f64,
    pub raw: &'a [Tensor],
}

impl SplineOnGpu<'_> {
    /// The plan, with the arguments filled in, and the GPU. `x` and `incoming`, the gradients of value and log-det, are
    /// contiguous tensors of the call's sizes, and so are the raw numbers.
    fn plan(&self, x: &Tensor, incoming: Option<[&Tensor; 2]>) -> Result<(usize, SplinePlan)> {
        let [widths, heights, derivatives] = self.raw else {
            return Err(Error::Cuda("expected three raw tensors".into()));
        };
        let SplineSizes {
            samples,
            elements,
            bins,
            ..
        } = self.sizes;
        let size = x.size();
        let [samples, sets, bins] = [samples, self.sizes.sets(), bins].map(|size| size as i64);
        if size.first() != Some(&samples) || x.numel() != self.sizes.samples * elements {
            return Err(Error::Cuda(format!(
                "expected {} of {}, got {size:?}",
                counted(samples, "sample"),
                counted(elements, "element")
            )));
        }
        let sample_sizes = [samples];
        let (inner, ends) = ([sets, bins], [sets, bins - 1]);
        let mut tensors: Vec<(&Tensor, &[i64])> = vec![
            (x, &size),
            (widths, &inner),
            (heights, &inner),
            (derivatives, &ends),
        ];
        if let Some([value, log_det]) = incoming {
            tensors.push((value, &size));
            tensors.push((log_det, &sample_sizes));
        }
        let index = expect(&tensors)?;
        let mut plan = spline_plan(&self.sizes, x.kind(), self.direction, self.tail)?;
        let params = &mut plan.params;
        [params.widths, params.heights, params.derivatives] =
            [widths, heights, derivatives].map(address);
        params.x = address(x);
        Ok((index, plan))
    }

    /// Value, log-det, and the table of the bins, which [`backward`](Self::backward) reads; nothing waits for the device.
    ///
    /// # Errors
    /// `x` is not of the call's sizes, or a launch fails.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<[Tensor; 3]> {
        let (index, mut plan) = self.plan(x, None)?;
        let options = (x.kind(), x.device());
        let value = Tensor::f_empty(x.size(), options)?;
        let log_det = Tensor::f_empty([self.sizes.samples as i64], options)?;
        let table = Tensor::f_empty([plan.table_elements as i64], options)?;
        let params = &mut plan.params;
        (params.table, params.value, params.log_det) =
            (address(&table), address(&value), address(&log_det));
        // SAFETY: the parameters of these kernels, with tensors of the plan's sizes, checked or made above; torch's allocator
        // hands their memory on in the order of this very stream, so also the workspaces outlive the kernels.
        unsafe { launch_all(index, &plan.forward, &plan.params)? };
        Ok([value, log_det, table])
    }

    /// The gradients of `x` and of the raw numbers, from the `incoming` ones of value and log-det and the forward pass'
    /// `table`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub(crate) fn backward(
        &self,
        x: &Tensor,
        table: &Tensor,
        incoming: [&Tensor; 2],
    ) -> Result<[Tensor; 4]> {
        let (index, mut plan) = self.plan(x, Some(incoming))?;
        expect(&[(x, &x.size()), (table, &[plan.table_elements as i64])])?;
        let scratch = workspace(plan.scratch_elements, x.kind(), index)?;
        let partials = workspace(plan.partial_elements, x.kind(), index)?;
        let sums = workspace(plan.sum_elements, Kind::Double, index)?;
        let fractions = workspace(plan.fraction_elements, Kind::Double, index)?;
        let made = [
            x.f_empty_like()?,
            self.raw[0].f_empty_like()?,
            self.raw[1].f_empty_like()?,
            self.raw[2].f_empty_like()?,
        ];
        let params = &mut plan.params;
        [params.value_grad, params.log_det_grad] = incoming.map(address);
        params.table = address(table);
        [
            params.scratch,
            params.partials,
            params.sums,
            params.fractions,
        ] = [&scratch, &partials, &sums, &fractions]
            .map(|workspace| workspace.as_ref().map_or(0, address));
        [
            params.x_grad,
            params.widths_grad,
            params.heights_grad,
            params.derivatives_grad,
        ] = made.each_ref().map(address);
        // SAFETY: as above.
        unsafe { launch_all(index, &plan.backward, &plan.params)? };
        Ok(made)
    }
}
