//! The CUDA kernels of effective filters, run block by block on the host, against the plain-tensor twin.

use crate::host_cuda::memory::Memory;
use crate::host_cuda::twin::{assert_close, run_stages};
use crate::ops_cases::random;
use inverse_flow::cuda::filter::{filter_plans, FilterSizes, Pass, MAX_LAYERS};
use inverse_flow::ops::filter::{reference, RawFilter};
use inverse_flow::ops::Corner;
use tch::{Device, Kind, Tensor};

/// Channels, kernel, groups, learnable, bound: more taps than threads and fewer, one channel, one tap.
const LAYERS: [([i64; 3], bool, Option<f64>); 6] = [
    ([12, 3, 1], false, Some(0.9)),
    ([12, 3, 1], false, None),
    ([8, 2, 4], true, None),
    ([4, 5, 2], true, Some(0.5)),
    ([1, 1, 1], true, Some(0.5)),
    ([20, 3, 1], true, Some(0.99)),
];

struct Layer {
    sizes: FilterSizes,
    theta: Tensor,
    mask: Tensor,
    identity: Tensor,
    diagonal: Tensor,
    grads: [Tensor; 2],
}

impl Layer {
    fn new(index: usize, kind: Kind) -> Self {
        let ([channels, kernel, groups], learnable, bound) = LAYERS[index % LAYERS.len()];
        let group = channels / groups;
        let size = [channels, group, kernel, kernel];
        let theta = random(&size, kind, index as i64) * 0.3;
        let (mask, identity) = (theta.ones_like(), theta.zeros_like());
        let mut places = Vec::new();
        for c in 0..channels {
            let (row, column) = Corner::ALL[(c / group) as usize % 4].anchor_index(kernel);
            let own = c % group;
            for input in own..group {
                let _ = mask.get(c).get(input).get(row).get(column).fill_(0.0);
            }
            let _ = identity.get(c).get(own).get(row).get(column).fill_(1.0);
            places.push(((own * kernel + row) * kernel + column) as i32);
        }
        Self {
            sizes: FilterSizes {
                sizes: [channels, group, kernel],
                learnable,
                bound,
            },
            grads: [random(&size, kind, 50), random(&[], kind, 51)],
            diagonal: Tensor::from_slice(&places),
            theta,
            mask,
            identity,
        }
    }

    /// Filter, log-determinant of the diagonal (0 for one of ones), gradient of theta.
    fn by_the_twin(&self) -> [Tensor; 3] {
        let theta = self.theta.copy().set_requires_grad(true);
        let made = reference::effective_filter(&RawFilter {
            theta: &theta,
            mask: &self.mask,
            identity: &self.identity,
            diagonal: &self.diagonal,
            learnable: self.sizes.learnable,
            bound: self.sizes.bound,
        })
        .unwrap();
        let kind = theta.kind();
        let log_diagonal = made
            .log_diagonal
            .unwrap_or_else(|| Tensor::zeros([], (kind, Device::Cpu)));
        let loss = (&made.weight * &self.grads[0]).sum(kind) + &log_diagonal * &self.grads[1];
        let [grad] = Tensor::run_backward(&[loss], &[&theta], false, false)
            .try_into()
            .unwrap();
        [made.weight.detach(), log_diagonal.detach(), grad]
    }
}

/// What [`Layer::by_the_twin`] gives, of all layers.
fn on_host(layers: &[Layer], kind: Kind, order: u32) -> Vec<Tensor> {
    let sizes: Vec<_> = layers.iter().map(|layer| layer.sizes).collect();
    let memory = |of: fn(&Layer) -> &Tensor| layers.iter().map(move |layer| Memory::of(of(layer)));
    let [thetas, weight_grads, log_grads]: [Vec<Memory>; 3] = [
        memory(|layer| &layer.theta).collect(),
        memory(|layer| &layer.grads[0]).collect(),
        memory(|layer| &layer.grads[1]).collect(),
    ];
    let like = |of: fn(&Layer) -> &Tensor| layers.iter().map(move |layer| Memory::like(of(layer)));
    let [weights, logs, grads]: [Vec<Memory>; 3] = [
        like(|layer| &layer.theta).collect(),
        like(|layer| &layer.grads[1]).collect(),
        like(|layer| &layer.theta).collect(),
    ];
    for pass in [Pass::Forward, Pass::Backward] {
        for (nth, mut plan) in filter_plans(&sizes, kind, pass)
            .unwrap()
            .into_iter()
            .enumerate()
        {
            for index in 0..plan.params.count as usize {
                let of = nth * MAX_LAYERS + index;
                let learnable = sizes[of].learnable;
                let params = &mut plan.params.layers[index];
                params.theta = thetas[of].address();
                params.diagonal = layers[of].diagonal.data_ptr() as u64;
                if pass == Pass::Forward {
                    params.weight = weights[of].address();
                    params.log_diagonal = if learnable { logs[of].address() } else { 0 };
                } else {
                    params.weight_grad = weight_grads[of].address();
                    let address = log_grads[of].address();
                    params.log_diagonal_grad = if learnable { address } else { 0 };
                    params.theta_grad = grads[of].address();
                }
            }
            // SAFETY: the parameters of this kernel; their memory has the sizes of the plan and outlives the call.
            unsafe { run_stages("launch_filter", &[plan.launch], &plan.params, order) };
        }
    }
    let mut all = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let size = layer.theta.size();
        all.push(weights[index].read(&size).copy());
        all.push(if layer.sizes.learnable {
            logs[index].read(&[]).copy()
        } else {
            Tensor::zeros([], (kind, Device::Cpu))
        });
        all.push(grads[index].read(&size).copy());
    }
    all
}

#[test]
fn filters_and_gradients_are_those_of_the_twin_in_every_order_of_threads() {
    for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 1e-5)] {
        // more layers than one launch takes
        let layers: Vec<_> = (0..MAX_LAYERS + 2)
            .map(|index| Layer::new(index, kind))
            .collect();
        let expected: Vec<_> = layers.iter().flat_map(Layer::by_the_twin).collect();
        let got = on_host(&layers, kind, 0);
        assert_close(&got, &expected, tolerance, &format!("{kind:?}"));
        for order in [1, 5] {
            assert_eq!(on_host(&layers, kind, order), got, "{kind:?} {order}");
        }
    }
}
