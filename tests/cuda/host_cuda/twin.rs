//! The kernels of an element-wise operator on the host, beside the operator's plain-tensor twin.

use super::{launch, Config};
use inverse_flow::cuda::launch::Launch;
use tch::Tensor;

/// Runs the stages of a pass, one after the other, through the launcher for their parameter struct; `order` is that of
/// [`Config`].
///
/// # Safety
/// As for [`launch`], of every stage.
pub unsafe fn run_stages<P>(launcher: &str, stages: &[Launch], params: &P, order: u32) {
    for stage in stages.iter().filter(|stage| !stage.is_empty()) {
        let config = Config {
            grid: stage.grid,
            block: stage.block,
            shared_bytes: stage.shared_bytes,
            resident: 1,
            order,
        };
        // SAFETY: the caller vouches for it.
        unsafe { launch(launcher, stage.kernel, params, &config) }
            .unwrap_or_else(|problem| panic!("{problem}: {stage:?}"));
    }
}

/// What the kernels are compared with: the twin's value and log-det, and the gradients of `inputs` for the incoming
/// gradients of the two.
pub fn by_the_twin<const N: usize>(
    inputs: [&Tensor; N],
    incoming: [&Tensor; 2],
    twin: impl FnOnce(&[Tensor; N]) -> inverse_flow::Result<(Tensor, Tensor)>,
) -> Vec<Tensor> {
    let leaves = inputs.map(|input| input.copy().set_requires_grad(true));
    let (value, log_det) = twin(&leaves).unwrap();
    let kind = value.kind();
    let loss = (&value * incoming[0]).sum(kind) + (&log_det * incoming[1]).sum(kind);
    let mut results = vec![value.detach(), log_det.detach()];
    results.extend(Tensor::run_backward(&[loss], &leaves, false, false));
    results
}

/// Fails where a result differs from the twin's by more than `tolerance`, relative to the largest number in it.
pub fn assert_close(got: &[Tensor], expected: &[Tensor], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got.size(), expected.size(), "{what} output {index}");
        if expected.numel() == 0 {
            continue;
        }
        let scale = 1.0 + expected.abs().max().double_value(&[]);
        let error = (got - expected).abs().max().double_value(&[]) / scale;
        // written so that a NaN fails
        assert!(error < tolerance, "{what} output {index}: {error:e}");
    }
}
