//! The CUDA kernels of the affine coupling, run block by block on the host, against the plain-tensor twin.

use crate::host_cuda::memory::Memory;
use crate::host_cuda::twin::{assert_close, by_the_twin, run_stages};
use crate::ops_cases::random;
use inverse_flow::cuda::coupling::{coupling_plan, CouplingSizes};
use inverse_flow::ops::coupling::{reference, AffineForm};
use inverse_flow::ops::Direction;
use tch::{Kind, Tensor};

/// `[N, C, H, W]`, and how many of the channels are moved: fewer pixels than threads and more, images of one pixel, samples
/// in several chunks that end inside a plane (one launch more), no channel kept, many kept.
const CASES: [([i64; 4], i64); 7] = [
    ([2, 6, 4, 5], 3),
    ([3, 2, 1, 1], 1),
    ([1, 2, 50, 61], 1),
    ([5, 4, 7, 31], 4),
    ([2, 6, 91, 90], 3),
    ([2, 3, 91, 90], 3),
    ([2, 9, 9, 90], 2),
];

struct Case {
    x: Tensor,
    net: Tensor,
    value_grad: Tensor,
    log_det_grad: Tensor,
}

fn case((size, moved): ([i64; 4], i64), kind: Kind) -> Case {
    let [n, _, h, w] = size;
    Case {
        x: random(&size, kind, 1),
        net: random(&[n, 2 * moved, h, w], kind, 2) * 3,
        value_grad: random(&size, kind, 3),
        log_det_grad: random(&size[..1], kind, 4),
    }
}

/// Value, log-det, and the gradients of x and of what the net said.
fn on_host(case: &Case, form: AffineForm, direction: Direction, order: u32) -> Vec<Tensor> {
    let size = case.x.size();
    let moved = case.net.size()[1] / 2;
    let sizes = CouplingSizes {
        samples: size[0],
        kept: size[1] - moved,
        moved,
        pixels: size[2] * size[3],
    };
    let mut plan = coupling_plan(sizes, case.x.kind(), form, direction).unwrap();
    let inputs = [&case.x, &case.net, &case.value_grad, &case.log_det_grad].map(Memory::of);
    let outputs = [&case.x, &case.log_det_grad, &case.x, &case.net];
    let memories = outputs.map(Memory::like);
    let partials = Memory::new(plan.partial_elements, Kind::Double);
    let p = &mut plan.params;
    [p.x, p.net, p.value_grad, p.log_det_grad] = inputs.each_ref().map(Memory::address);
    [p.value, p.log_det, p.x_grad, p.net_grad] = memories.each_ref().map(Memory::address);
    p.partials = partials.address();
    for stages in [&plan.forward[..], &plan.backward] {
        // SAFETY: the parameters of these kernels; their memory has the sizes of the plan and outlives the call.
        unsafe { run_stages("launch_coupling", stages, &plan.params, order) };
    }
    partials.check_frame();
    let read = |(memory, like): (&Memory, &Tensor)| memory.read(&like.size());
    memories.iter().zip(outputs).map(read).collect()
}

#[test]
fn values_and_gradients_are_those_of_the_twin() {
    for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 1e-5)] {
        for (size, form) in CASES
            .into_iter()
            .flat_map(|size| AffineForm::ALL.map(|form| (size, form)))
        {
            let case = case(size, kind);
            for direction in [Direction::Forward, Direction::Inverse] {
                let incoming = [&case.value_grad, &case.log_det_grad];
                let expected = by_the_twin([&case.x, &case.net], incoming, |[x, net]| {
                    reference::affine_coupling(x, net, form, direction)
                });
                let got = on_host(&case, form, direction, 0);
                let what = format!("{size:?} {kind:?} {form:?} {direction:?}");
                assert_close(&got, &expected, tolerance, &what);
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_the_order_of_blocks_and_threads() {
    for size in CASES {
        let case = case(size, Kind::Float);
        for form in [AffineForm::Bounded, AffineForm::Sigmoid] {
            let first = on_host(&case, form, Direction::Forward, 0);
            for order in [1, 5] {
                let again = on_host(&case, form, Direction::Forward, order);
                assert_eq!(again, first, "{size:?} {form:?} {order}");
            }
        }
    }
}
