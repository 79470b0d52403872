//! The spline's CUDA kernels, run block by block on the host, against the plain-tensor twin.

use crate::host_cuda::memory::Memory;
use crate::host_cuda::twin::{assert_close, by_the_twin, run_stages};
use inverse_flow::cuda::spline::spline_plan;
use inverse_flow::ops::spline::{reference, RawSpline, SplineSizes};
use inverse_flow::ops::Direction;
use std::sync::{Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

/// Samples, elements of one, bins, shared: one bin and many, more bins than a warp has lanes and than shared memory has room
/// for, more elements than columns, more sets than a block has threads, chunks of one sample and of several, nothing at all.
const CASES: [(i64, i64, i64, bool); 12] = [
    (3, 30, 5, true),
    (3, 30, 4, false),
    (5, 1100, 10, true),
    (2, 150, 3, false),
    (130, 600, 2, true),
    (3, 40, 32, true),
    (2, 50, 70, true),
    (2, 33, 40, false),
    (3, 12, 70, false),
    (2, 3, 1, true),
    (0, 4, 3, true),
    (2, 0, 3, false),
];

struct Case {
    x: Tensor,
    raw: [Tensor; 3],
    value_grad: Tensor,
    log_det_grad: Tensor,
}

const TAIL: f64 = 1.5;

fn case((samples, elements, bins, shared): (i64, i64, i64, bool), kind: Kind) -> Case {
    // libtorch's generator is one for all threads
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _held = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(samples + 10 * elements + 1000 * bins);
    let sets = if shared { 1 } else { elements };
    let random = |size: &[i64]| Tensor::randn(size, (Kind::Double, Device::Cpu)).to_kind(kind);
    Case {
        x: random(&[samples, elements]),
        raw: [
            random(&[sets, bins]),
            random(&[sets, bins]),
            random(&[sets, bins - 1]),
        ],
        value_grad: random(&[samples, elements]),
        log_det_grad: random(&[samples]),
    }
}

fn raw(case: &Case) -> RawSpline<'_> {
    let [widths, heights, derivatives] = &case.raw;
    RawSpline {
        widths,
        heights,
        derivatives,
        tail: TAIL,
    }
}

/// Value, log-det, and the gradients of x, widths, heights and derivatives at `at`.
fn on_host(case: &Case, at: &Tensor, direction: Direction, order: u32) -> Vec<Tensor> {
    let sizes = SplineSizes::check(&case.x, &raw(case)).unwrap();
    let kind = case.x.kind();
    let mut plan = spline_plan(&sizes, kind, direction, TAIL).unwrap();
    let inputs: Vec<Memory> = case.raw.iter().map(Memory::of).collect();
    let (x, at) = (Memory::of(&case.x), Memory::of(at));
    let incoming = [&case.value_grad, &case.log_det_grad].map(Memory::of);
    let table = Memory::new(plan.table_elements, kind);
    let scratch = Memory::new(plan.scratch_elements, kind);
    let partials = Memory::new(plan.partial_elements, kind);
    let sums = Memory::new(plan.sum_elements, Kind::Double);
    let fractions = Memory::new(plan.fraction_elements, Kind::Double);
    let outputs = [
        &case.x,
        &case.log_det_grad,
        &case.x,
        &case.raw[0],
        &case.raw[1],
        &case.raw[2],
    ];
    let memories = outputs.map(|like| Memory::new(like.numel(), kind));
    let p = &mut plan.params;
    (p.widths, p.heights, p.derivatives) = (
        inputs[0].address(),
        inputs[1].address(),
        inputs[2].address(),
    );
    (p.x, p.table, p.partials) = (x.address(), table.address(), partials.address());
    (p.sums, p.fractions) = (sums.address(), fractions.address());
    if plan.scratch_elements > 0 {
        p.scratch = scratch.address();
    }
    [p.value_grad, p.log_det_grad] = incoming.each_ref().map(Memory::address);
    [
        p.value,
        p.log_det,
        p.x_grad,
        p.widths_grad,
        p.heights_grad,
        p.derivatives_grad,
    ] = memories.each_ref().map(Memory::address);
    // SAFETY: the parameters of these kernels; their memory has the sizes of the plan and outlives the calls.
    unsafe {
        run_stages("launch_spline", &plan.forward, &plan.params, order);
        plan.params.x = at.address();
        run_stages("launch_spline", &plan.backward, &plan.params, order);
    }
    for workspace in [&table, &scratch, &partials, &sums, &fractions] {
        workspace.check_frame();
    }
    memories
        .iter()
        .zip(outputs)
        .map(|(memory, like)| memory.read(&like.size()).copy())
        .collect()
}

fn expected_of(case: &Case, direction: Direction) -> Vec<Tensor> {
    let [widths, heights, derivatives] = &case.raw;
    let inputs = [&case.x, widths, heights, derivatives];
    let incoming = [&case.value_grad, &case.log_det_grad];
    by_the_twin(inputs, incoming, |[x, widths, heights, derivatives]| {
        let raw = RawSpline {
            widths,
            heights,
            derivatives,
            tail: TAIL,
        };
        reference::spline(x, &raw, direction)
    })
}

#[test]
fn values_and_gradients_are_those_of_the_twin() {
    for (kind, tolerance) in [(Kind::Double, 1e-10), (Kind::Float, 5e-4)] {
        for sizes in CASES {
            let case = case(sizes, kind);
            for direction in [Direction::Forward, Direction::Inverse] {
                let expected = expected_of(&case, direction);
                let at = match direction {
                    Direction::Forward => &case.x,
                    Direction::Inverse => &expected[0],
                };
                let got = on_host(&case, at, direction, 0);
                let what = format!("{sizes:?} {kind:?} {direction:?}");
                // nothing is launched for nothing, and the operator fills in the zeros
                if case.x.numel() == 0 {
                    let sizes = |all: &[Tensor]| all.iter().map(Tensor::size).collect::<Vec<_>>();
                    assert_eq!(sizes(&got), sizes(&expected), "{what}");
                } else {
                    assert_close(&got, &expected, tolerance, &what);
                }
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_the_order_of_blocks_and_threads() {
    for sizes in [CASES[0], CASES[1], CASES[3], CASES[6], CASES[8]] {
        let case = case(sizes, Kind::Float);
        let first = on_host(&case, &case.x, Direction::Forward, 0);
        for order in [1, 5] {
            assert_eq!(
                on_host(&case, &case.x, Direction::Forward, order),
                first,
                "{sizes:?} {order}"
            );
        }
    }
}
