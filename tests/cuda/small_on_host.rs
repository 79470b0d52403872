//! The CUDA kernels of the small operators, run block by block on the host, against the plain-tensor twins.

use crate::host_cuda::memory::Memory;
use crate::host_cuda::twin::{assert_close, run_stages};
use crate::small_operators::{small_operators, SmallOperator};
use inverse_flow::cuda::butterfly::butterfly_plan;
use inverse_flow::cuda::log_det::log_det_plan;
use inverse_flow::cuda::masked_residual::{elu_plan, filters_plan};
use inverse_flow::cuda::pad::pad_plan;
use inverse_flow::cuda::weight_norm::weight_norm_plan;
use inverse_flow::ops::log_det::MatrixSizes;
use tch::{Kind, Tensor};

/// What a pass is given and what it has written: the inputs, then in the backward pass the outputs' gradients.
struct Call<'a> {
    case: &'a SmallOperator,
    order: u32,
    inputs: Vec<Memory>,
    outputs: Vec<Memory>,
    grads: Vec<Memory>,
    made: Vec<Memory>,
}

/// Addresses, in order.
fn addresses<const N: usize>(memories: &[Memory]) -> [u64; N] {
    std::array::from_fn(|index| memories[index].address())
}

impl Call<'_> {
    fn size(&self, index: usize) -> Vec<i64> {
        self.case.arguments[index].size()
    }

    /// Runs both passes.
    fn run(&self, kind: Kind) {
        match self.case.name.split(' ').next().unwrap() {
            "butterfly" => {
                let size = self.size(1);
                let sizes = [self.size(0)[0], size[0], size[3]];
                let mut plan = butterfly_plan(sizes, kind).unwrap();
                let p = &mut plan.params;
                [p.x, p.factor] = addresses(&self.inputs);
                [p.value, p.log_det] = addresses(&self.outputs);
                [p.value_grad, p.log_det_grad] = addresses(&self.grads);
                [p.x_grad, p.factor_grad] = addresses(&self.made);
                for stages in [plan.forward, plan.backward] {
                    // SAFETY: the parameters of this kernel; their memory has the sizes of the plan and outlives the call.
                    unsafe { run_stages("launch_butterfly", &stages, &plan.params, self.order) };
                }
            }
            "log-det" => {
                let full = self.case.arguments.len() == 1;
                let matrices: Vec<_> = if full {
                    vec![MatrixSizes {
                        order: self.size(0)[0],
                        length: None,
                        copies: -6.0,
                    }]
                } else {
                    let sizes = (0..3).zip([3.0, -2.0, 5.0]);
                    let of = |(index, copies): (usize, f64)| MatrixSizes {
                        order: self.size(2 * index)[1],
                        length: Some(self.size(2 * index)[0]),
                        copies,
                    };
                    sizes.map(of).collect()
                };
                let samples = if full { 7 } else { 200 };
                let mut plan = log_det_plan(&matrices, samples, kind).unwrap();
                let p = &mut plan.params;
                [p.log_det] = addresses(&self.outputs);
                [p.log_det_grad] = addresses(&self.grads);
                for (index, place) in p.matrices.iter_mut().take(matrices.len()).enumerate() {
                    let at = if full { index } else { 2 * index };
                    (place.u, place.u_grad) = (self.inputs[at].address(), self.made[at].address());
                    if !full {
                        place.v = self.inputs[at + 1].address();
                        place.v_grad = self.made[at + 1].address();
                    }
                }
                for stages in [plan.forward, plan.backward] {
                    // SAFETY: as above.
                    unsafe { run_stages("launch_log_det", &stages, &plan.params, self.order) };
                }
            }
            "pad" => {
                let numbers = self
                    .case
                    .name
                    .trim_start_matches("pad [")
                    .trim_end_matches(']');
                let by: Vec<i64> = numbers.split(", ").map(|n| n.parse().unwrap()).collect();
                let by = <[i64; 4]>::try_from(by).unwrap();
                let [n, c, h, w] = <[i64; 4]>::try_from(self.size(0)).unwrap();
                let [left, right, top, bottom] = by;
                let out = [n * c, h + top + bottom, w + left + right];
                for (sizes, by, from, to) in [
                    ([n * c, h, w], by, &self.inputs, &self.outputs),
                    (out, by.map(|side| -side), &self.grads, &self.made),
                ] {
                    let mut plan = pad_plan(sizes, by, kind).unwrap();
                    ([plan.params.x], [plan.params.y]) = (addresses(from), addresses(to));
                    // SAFETY: as above.
                    unsafe { run_stages("launch_pad", &plan.launch, &plan.params, self.order) };
                }
            }
            "weight" => {
                let directions = (0..self.case.arguments.len()).step_by(2);
                let sizes = directions.map(|index| {
                    let size = self.size(index);
                    [size[0], size[1..].iter().product()]
                });
                let mut plan = weight_norm_plan(&sizes.collect::<Vec<_>>(), kind).unwrap();
                for (index, filter) in plan.params.filters.iter_mut().enumerate() {
                    if index < self.outputs.len() {
                        [filter.direction, filter.gain] = addresses(&self.inputs[2 * index..]);
                        [filter.direction_grad, filter.gain_grad] =
                            addresses(&self.made[2 * index..]);
                        filter.weight = self.outputs[index].address();
                        filter.weight_grad = self.grads[index].address();
                    }
                }
                for stages in [plan.forward, plan.backward] {
                    // SAFETY: as above.
                    unsafe { run_stages("launch_weight_norm", &stages, &plan.params, self.order) };
                }
            }
            "ELU" => {
                let [n, channels, h, w] = <[i64; 4]>::try_from(self.size(0)).unwrap();
                let colours = self.case.name.split(' ').nth(2).unwrap();
                let colours: i64 = colours.parse().unwrap();
                let sizes = [n, channels / colours, colours, h * w];
                let mut plan = elu_plan(sizes, kind).unwrap();
                let p = &mut plan.params;
                [p.h] = addresses(&self.inputs);
                [p.value, p.slope] = addresses(&self.outputs);
                [p.value_grad, p.slope_grad] = addresses(&self.grads);
                [p.h_grad] = addresses(&self.made);
                for stages in [plan.forward, plan.backward] {
                    // SAFETY: as above.
                    unsafe { run_stages("launch_elu_slope", &stages, &plan.params, self.order) };
                }
            }
            "filters" => {
                let (first, t) = (self.size(0), &self.case.arguments[3]);
                let sizes = [first[1], first[0] / first[1], t.numel() as i64];
                let lower = self.case.name.ends_with("Lower");
                let mut plan = filters_plan(sizes, lower, kind).unwrap();
                let p = &mut plan.params;
                p.weights = addresses(&self.inputs);
                p.filters = addresses(&self.outputs);
                p.filter_grads = addresses(&self.grads);
                p.weight_grads = addresses(&self.made);
                ([p.t], [p.t_grad]) = (addresses(&self.inputs[3..]), addresses(&self.made[3..]));
                [p.paths, p.slope] = addresses(&self.outputs[3..]);
                [p.paths_grad, p.slope_grad] = addresses(&self.grads[3..]);
                for stages in [plan.forward, plan.backward] {
                    // SAFETY: as above.
                    unsafe {
                        run_stages("launch_residual_filters", &stages, &plan.params, self.order);
                    }
                }
            }
            other => panic!("{other} has no kernel here"),
        }
    }
}

/// Outputs and gradients: of the kernels, and of the twin.
fn both(case: &SmallOperator, kind: Kind, order: u32) -> [Vec<Tensor>; 2] {
    let leaf = |t: &Tensor| t.detach().to_kind(kind).set_requires_grad(true);
    let leaves: Vec<_> = case.arguments.iter().map(leaf).collect();
    let mut expected = (case.twin)(&leaves);
    let grads: Vec<_> = (1..)
        .zip(&expected)
        .map(|(seed, output)| crate::ops_cases::random(&output.size(), kind, seed))
        .collect();
    let weighed = expected.iter().zip(&grads);
    let loss: Tensor = weighed
        .map(|(output, grad)| (output * grad).sum(kind))
        .sum();
    let gradients = Tensor::run_backward(&[loss], &leaves, false, false);
    let of_outputs = expected.len();
    expected = expected.iter().map(Tensor::detach).collect();
    expected.extend(gradients);
    let plain = |t: &Tensor| Memory::of(&t.detach().contiguous());
    let call = Call {
        case,
        order,
        inputs: leaves.iter().map(plain).collect(),
        outputs: expected[..of_outputs].iter().map(Memory::like).collect(),
        grads: grads.iter().map(Memory::of).collect(),
        made: leaves.iter().map(Memory::like).collect(),
    };
    call.run(kind);
    let memories = call.outputs.iter().chain(&call.made).zip(&expected);
    let got = memories.map(|(memory, like)| memory.read(&like.size()));
    [got.collect(), expected]
}

#[test]
fn values_and_gradients_are_those_of_the_twins() {
    for case in small_operators() {
        for (kind, tolerance) in [(Kind::Double, 1e-11), (Kind::Float, 1e-5)] {
            let [got, expected] = both(&case, kind, 0);
            assert_close(
                &got,
                &expected,
                tolerance,
                &format!("{} {kind:?}", case.name),
            );
        }
    }
}

#[test]
fn results_do_not_depend_on_the_order_of_blocks_and_threads() {
    for case in small_operators() {
        let [first, _] = both(&case, Kind::Float, 0);
        for order in [1, 5] {
            let [again, _] = both(&case, Kind::Float, order);
            assert_eq!(again, first, "{} {order}", case.name);
        }
    }
}
