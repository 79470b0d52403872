//! A call on a GPU in the autograd graph.

use super::raw::RawFilter;
use super::reference;
use crate::cuda::filter::{self as gpu, FilterOnGpu, FilterSizes};
use crate::ffi::autograd::{CustomFn, Saved};
use crate::ffi::grad_enabled;
use crate::ops::fused::gradients_by_twin;
use crate::Result;
use tch::Tensor;

/// Inputs of a layer: theta, mask, identity, diagonal. Its outputs: the filter, and with a learnable diagonal its
/// log-determinant.
const INPUTS: usize = 4;

/// One call.
pub(super) struct Recorded {
    layers: Vec<FilterSizes>,
}

impl Recorded {
    pub(super) fn new(raw: &[RawFilter<'_>]) -> Self {
        let layers = raw.iter().map(|raw| {
            let size = raw.theta.size();
            FilterSizes {
                sizes: [size[0], size[1], size[2]],
                learnable: raw.learnable,
                bound: raw.bound,
            }
        });
        Self {
            layers: layers.collect(),
        }
    }

    fn on_gpu<'a>(&self, inputs: &'a [Tensor]) -> Vec<FilterOnGpu<'a>> {
        let layers = self.layers.iter().zip(inputs.chunks(INPUTS));
        layers
            .map(|(&sizes, inputs)| FilterOnGpu {
                sizes,
                theta: &inputs[0],
                diagonal: &inputs[3],
            })
            .collect()
    }

    fn twin(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut outputs = Vec::new();
        for (layer, inputs) in self.layers.iter().zip(inputs.chunks(INPUTS)) {
            let made = reference::effective_filter(&RawFilter {
                theta: &inputs[0],
                mask: &inputs[1],
                identity: &inputs[2],
                diagonal: &inputs[3],
                learnable: layer.learnable,
                bound: layer.bound,
            })?;
            outputs.push(made.weight);
            outputs.extend(made.log_diagonal);
        }
        Ok(outputs)
    }
}

impl CustomFn for Recorded {
    fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        inputs.iter().for_each(|input| saved.save(input));
        let inputs = contiguous(inputs)?;
        let made = gpu::forward(&self.on_gpu(&inputs))?;
        let outputs = made
            .into_iter()
            .flat_map(|(weight, log_diagonal)| std::iter::once(weight).chain(log_diagonal));
        Ok(outputs.collect())
    }

    fn backward(
        &self,
        saved: &[Tensor],
        grads: &[Option<Tensor>],
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let mut found: Vec<_> = needs.iter().map(|_| None).collect();
        if grads.iter().all(Option::is_none) {
            return Ok(found);
        }
        if grad_enabled() {
            return gradients_by_twin(|inputs| self.twin(inputs), grads, saved, needs);
        }
        let mut grads = grads.iter();
        let mut next = || {
            let grad = grads.next().and_then(Option::as_ref);
            grad.map(Tensor::f_contiguous).transpose()
        };
        let mut incoming = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let weight = next()?;
            let log_diagonal = if layer.learnable { next()? } else { None };
            incoming.push([weight, log_diagonal]);
        }
        let made = gpu::backward(&self.on_gpu(&contiguous(saved)?), &incoming)?;
        for (layer, grad) in made.into_iter().enumerate() {
            if needs[layer * INPUTS] {
                found[layer * INPUTS] = Some(grad);
            }
        }
        Ok(found)
    }
}

fn contiguous(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    let all = tensors.iter().map(Tensor::f_contiguous);
    Ok(all.collect::<std::result::Result<_, _>>()?)
}
