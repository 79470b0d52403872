//! The CUDA kernels of ActNorm, run block by block on the host, against the plain-tensor twin.

use crate::host_cuda::memory::Memory;
use crate::host_cuda::twin::{assert_close, by_the_twin, run_stages};
use crate::ops_cases::random;
use inverse_flow::cuda::actnorm::actnorm_plan;
use inverse_flow::ops::actnorm::reference;
use inverse_flow::ops::{ChannelForm, Direction};
use tch::{Kind, Tensor};

/// `[N, C, H, W]`: fewer pixels than threads and more, blocks that begin inside a plane, images of one pixel, channels in
/// several chunks (one launch more).
const CASES: [[i64; 4]; 6] = [
    [2, 3, 4, 5],
    [3, 5, 1, 1],
    [700, 3, 1, 1],
    [1, 1, 50, 61],
    [5, 4, 7, 31],
    [3, 2, 150, 151],
];

struct Case {
    x: Tensor,
    loc: Tensor,
    log_scale: Tensor,
    value_grad: Tensor,
    log_det_grad: Tensor,
}

fn case(size: [i64; 4], kind: Kind) -> Case {
    let [n, c, ..] = size;
    Case {
        x: random(&size, kind, 1),
        loc: random(&[c], kind, 2),
        log_scale: random(&[c], kind, 3) * 0.5,
        value_grad: random(&size, kind, 4),
        log_det_grad: random(&[n], kind, 5),
    }
}

/// Value, log-det, and the gradients of x, loc and log_scale; a log-det of zeros where the form has none.
fn on_host(case: &Case, form: ChannelForm, order: u32) -> Vec<Tensor> {
    let size = case.x.size();
    let sizes = [size[0], size[1], size[2] * size[3]];
    let mut plan = actnorm_plan(sizes, case.x.kind(), form).unwrap();
    let inputs = [
        &case.x,
        &case.loc,
        &case.log_scale,
        &case.value_grad,
        &case.log_det_grad,
    ]
    .map(Memory::of);
    let outputs = [
        &case.x,
        &case.log_det_grad,
        &case.x,
        &case.loc,
        &case.log_scale,
    ];
    let memories = outputs.map(Memory::like);
    let partials = Memory::new(plan.partial_elements, Kind::Double);
    let p = &mut plan.params;
    [p.x, p.loc, p.log_scale, p.value_grad, p.log_det_grad] =
        inputs.each_ref().map(Memory::address);
    [p.value, p.log_det, p.x_grad, p.loc_grad, p.log_scale_grad] =
        memories.each_ref().map(Memory::address);
    p.partials = partials.address();
    let has_log_det = matches!(form, ChannelForm::Standardise(_));
    if !has_log_det {
        (p.log_det, p.log_det_grad) = (0, 0);
    }
    for stages in [&plan.forward[..], &plan.backward] {
        // SAFETY: the parameters of these kernels; their memory has the sizes of the plan and outlives the call.
        unsafe { run_stages("launch_actnorm", stages, &plan.params, order) };
    }
    partials.check_frame();
    let read = |(memory, like): (&Memory, &Tensor)| memory.read(&like.size());
    let mut results: Vec<Tensor> = memories.iter().zip(outputs).map(read).collect();
    if !has_log_det {
        results[1] = results[1].zeros_like();
    }
    results
}

const FORMS: [ChannelForm; 3] = [
    ChannelForm::Standardise(Direction::Forward),
    ChannelForm::Standardise(Direction::Inverse),
    ChannelForm::Biased { factor: 3.0 },
];

#[test]
fn values_and_gradients_are_those_of_the_twin() {
    for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 1e-5)] {
        for size in CASES {
            let case = case(size, kind);
            for form in FORMS {
                let incoming = [&case.value_grad, &case.log_det_grad];
                let expected = by_the_twin(
                    [&case.x, &case.loc, &case.log_scale],
                    incoming,
                    |[x, loc, log_scale]| match form {
                        ChannelForm::Standardise(direction) => {
                            reference::actnorm(x, loc, log_scale, direction)
                        }
                        ChannelForm::Biased { factor } => {
                            let value = reference::scale_channels(x, loc, log_scale, factor)?;
                            Ok((value, case.log_det_grad.zeros_like()))
                        }
                    },
                );
                let got = on_host(&case, form, 0);
                let what = format!("{size:?} {kind:?} {form:?}");
                assert_close(&got, &expected, tolerance, &what);
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_the_order_of_blocks_and_threads() {
    for size in CASES {
        let case = case(size, Kind::Float);
        let first = on_host(&case, FORMS[0], 0);
        for order in [1, 5] {
            let again = on_host(&case, FORMS[0], order);
            assert_eq!(again, first, "{size:?} {order}");
        }
    }
}
