//! The second derivative of an operator whose backward pass is a kernel: that of its twin in tensor operations.

use crate::Result;
use tch::{Kind, Tensor};

/// Gradients of `inputs` as differentiable functions of everything they depend on; `twin` makes the outputs of the inputs
/// by recorded operations, and `grads` are the outputs' gradients.
pub fn gradients_by_twin(
    twin: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>>,
    grads: &[Option<Tensor>],
    inputs: &[Tensor],
    needs: &[bool],
) -> Result<Vec<Option<Tensor>>> {
    // `grads` may depend on the inputs too, by way of the very call whose backward pass this is. The derivative with
    // respect to views that only the twin sees leaves that way out; the graph of the result has it again.
    let inputs = inputs.iter().map(|input| input.f_view_as(input));
    let inputs: Vec<_> = inputs.collect::<std::result::Result<_, _>>()?;
    let outputs = twin(&inputs)?;
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
