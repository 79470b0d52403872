//! The second derivative of an operator whose backward pass is a kernel: that of its twin in tensor operations.

use crate::Result;
use tch::{Kind, Tensor};

/// Gradients of `inputs` as differentiable functions of everything they depend on; `outputs` were made of `inputs` by
/// recorded operations, and `grads` are their gradients.
pub fn gradients_by_twin(
    outputs: &[Tensor],
    grads: &[Option<Tensor>],
    inputs: &[Tensor],
    needs: &[bool],
) -> Result<Vec<Option<Tensor>>> {
    let mut loss: Option<Tensor> = None;
    for (output, grad) in outputs.iter().zip(grads) {
        if let Some(grad) = grad {
            let part = output.f_mul(grad)?.f_sum(None::<Kind>)?;
            loss = Some(match loss {
                None => part,
                Some(loss) => loss.f_add(&part)?,
            });
        }
    }
    let wanted = inputs.iter().zip(needs).filter(|(_, &need)| need);
    let wanted: Vec<&Tensor> = wanted.map(|(input, _)| input).collect();
    let Some(loss) = loss else {
        return Ok(needs.iter().map(|_| None).collect());
    };
    let mut found = Tensor::f_run_backward(&[loss], &wanted, true, true)?.into_iter();
    Ok(needs
        .iter()
        .map(|&need| need.then(|| found.next()).flatten().filter(Tensor::defined))
        .collect())
}
