//! The kernel that adds to the first channels, run block by block on the host.

use crate::host_cuda::memory::Memory;
use crate::host_cuda::twin::run_stages;
use crate::ops_cases::random;
use inverse_flow::cuda::channels::channels_plan;
use tch::{Kind, Tensor};

/// `[N, C, H, W]` and the number of first channels: none, all, blocks that end inside a sample, samples inside a block.
const CASES: [([i64; 4], i64); 6] = [
    ([2, 6, 4, 5], 3),
    ([3, 2, 1, 1], 1),
    ([2, 5, 31, 37], 2),
    ([700, 3, 1, 1], 2),
    ([2, 4, 3, 3], 4),
    ([2, 4, 3, 3], 0),
];

fn on_host(all: &Tensor, first: &Tensor, order: u32) -> Tensor {
    let (size, part) = (all.size(), first.size());
    let elements = |size: &[i64]| size[1..].iter().product::<i64>();
    let sizes = [size[0], elements(&size), elements(&part)];
    let (launch, mut params) = channels_plan(sizes, all.kind()).unwrap();
    let inputs = [all, first].map(Memory::of);
    let sum = Memory::like(all);
    [params.all, params.first] = inputs.each_ref().map(Memory::address);
    params.sum = sum.address();
    // SAFETY: the parameters of this kernel; its memory has the sizes of the plan and outlives the call.
    unsafe { run_stages("launch_channels", &[launch], &params, order) };
    sum.read(&size)
}

#[test]
fn the_first_channels_have_both_numbers_and_the_others_one() {
    for kind in [Kind::Double, Kind::Float] {
        for (size, count) in CASES {
            let all = random(&size, kind, 1);
            let first = random(&[size[0], count, size[2], size[3]], kind, 2);
            let padded = first.constant_pad_nd([0, 0, 0, 0, 0, size[1] - count]);
            for order in [0, 1, 5] {
                let got = on_host(&all, &first, order);
                assert!(got.equal(&(&all + &padded)), "{size:?} {count} {kind:?}");
            }
        }
    }
}
