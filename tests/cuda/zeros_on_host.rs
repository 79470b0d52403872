//! Filters without an inverse, by the kernels on the host: what they leave in the device's word.

use crate::host_cuda::{self, Run};
use crate::kernels_on_host::{case, solve_limits, Case, CASES};
use tch::Kind;

#[test]
fn zeros_on_the_diagonal_are_reported_by_every_kernel_that_solves() {
    for (index, sizes) in CASES.into_iter().enumerate() {
        let [_, channels, groups, .., k] = sizes;
        let kind = [Kind::Float, Kind::Double][index % 2];
        let case = case(sizes, index % 4, kind);
        let Case {
            corners, x, weight, ..
        } = &case;
        let group = channels / groups;
        // in all channels from this one on: it is the one that is reported
        for first in [0, channels / 2, channels - 1] {
            for channel in first..channels {
                let corner = corners[(channel / group) as usize];
                let (row, column) = corner.anchor_index(k);
                let entry = weight.get(channel).get(channel % group).get(row);
                let _ = entry.get(column).fill_(0.0);
            }
            let run = Run {
                order: index as u32,
                few_threads: index % 2 == 0,
                ..Run::PLAIN
            };
            // `host_cuda` compares what a launch leaves in the word with the weight, here and in every other test
            for limits in solve_limits() {
                host_cuda::solve(x, weight, corners, index % 2 == 1, &limits, run);
            }
            if groups == 1 {
                let _ = host_cuda::baseline(x, weight, corners[0], Run::PLAIN);
            }
            let fresh = self::case(sizes, index % 4, kind).weight;
            let mut weight = weight.shallow_clone();
            weight.copy_(&fresh);
        }
    }
}
