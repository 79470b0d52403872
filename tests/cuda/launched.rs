//! Every launch that the program can plan, on devices of any size.

use inverse_flow::cuda::actnorm::actnorm_plan;
use inverse_flow::cuda::baseline;
use inverse_flow::cuda::batch::{batch_plan, BatchOf};
use inverse_flow::cuda::butterfly::butterfly_plan;
use inverse_flow::cuda::channels::channels_plan;
use inverse_flow::cuda::coupling::{coupling_plan, CouplingSizes};
use inverse_flow::cuda::filter::{filter_plans, FilterSizes, Pass};
use inverse_flow::cuda::launch::{apply_plan, solve_plans, weight_grad_plan, Launch, SolveLimits};
use inverse_flow::cuda::log_det::log_det_plan;
use inverse_flow::cuda::masked_residual::{elu_plan, filters_plan};
use inverse_flow::cuda::pad::pad_plan;
use inverse_flow::cuda::spline::spline_plan;
use inverse_flow::cuda::verdict;
use inverse_flow::cuda::weight_norm::weight_norm_plan;
use inverse_flow::ops::coupling::AffineForm;
use inverse_flow::ops::log_det::MatrixSizes;
use inverse_flow::ops::spline::SplineSizes;
use inverse_flow::ops::{ChannelForm, Corner, Direction, Geometry};
use std::collections::BTreeSet;
use tch::Kind;

fn sizes() -> Vec<Geometry> {
    let mut sizes = Vec::new();
    for kernel in [1, 2, 3, 4, 5, 7, 11, 40] {
        for [batch, channels, height, width] in [
            [1, 1, 1, 1],
            [1, 4, 1, 300],
            [3, 8, 300, 1],
            [100, 12, 16, 16],
            [100, 12, 14, 14],
            [2, 16, 37, 5],
            [100, 24, 8, 8],
            [1, 48, 64, 64],
            [2, 100, 9, 31],
            [1, 500, 4, 4],
            [8, 12, 256, 256],
        ] {
            for groups in [1, 4] {
                if channels % groups == 0 {
                    sizes.push(Geometry {
                        batch,
                        channels,
                        groups,
                        height,
                        width,
                        kernel,
                    });
                }
            }
        }
    }
    sizes
}

/// What the operators, the element-wise operators and the published scheme launch on a device whose blocks have `shared` bytes.
pub fn launches(shared: u32) -> BTreeSet<(&'static str, u32, u32)> {
    let mut found = BTreeSet::new();
    let mut add = |launch: &Launch| {
        let threads = launch.block.iter().product();
        found.insert((launch.kernel, threads, launch.shared_bytes));
    };
    let shared = shared as usize;
    let batch = batch_plan(&BatchOf {
        size: [100, 3, 32, 32],
        reflect: false,
        key: [0; 32],
    });
    add(&batch.unwrap().launch);
    add(&verdict::LAUNCH);
    for kind in [Kind::Float, Kind::Double] {
        for geometry in sizes() {
            let corners = &Corner::ALL[..geometry.groups as usize];
            let limits = SolveLimits::of_device(shared);
            for plan in solve_plans(&geometry, kind, corners, false, &limits).unwrap() {
                add(&plan.launch);
            }
            add(&apply_plan(&geometry, kind, corners, false).unwrap().launch);
            let grad = weight_grad_plan(&geometry, kind, corners, shared).unwrap();
            add(&grad.partial);
            add(&grad.sum);
            // a launch for every diagonal and channel, all with equal blocks
            for (launch, _) in baseline::launches(&geometry, kind, corners)
                .unwrap()
                .iter()
                .take(1)
            {
                add(launch);
            }
        }
        for (samples, elements, bins, shared) in [
            (1, 1, 1, true),
            (100, 3072, 500, true),
            (100, 784, 10, false),
        ] {
            let sizes = SplineSizes {
                samples,
                elements,
                bins,
                shared,
            };
            let plan = spline_plan(&sizes, kind, Direction::Forward, 3.0).unwrap();
            plan.forward.iter().chain(&plan.backward).for_each(&mut add);
        }
        let filter = FilterSizes {
            sizes: [12, 12, 3],
            learnable: true,
            bound: Some(0.9),
        };
        for pass in [Pass::Forward, Pass::Backward] {
            let plans = filter_plans(&[filter], kind, pass).unwrap();
            plans.iter().for_each(|plan| add(&plan.launch));
        }
        // one chunk and several
        for sizes in [[2, 4, 9], [3, 2, 100_000]] {
            let form = ChannelForm::Standardise(Direction::Forward);
            let actnorm = actnorm_plan(sizes, kind, form).unwrap();
            let [samples, moved, pixels] = sizes;
            let sizes = CouplingSizes {
                samples,
                kept: 1,
                moved,
                pixels,
            };
            let form = AffineForm::Bounded;
            let coupling = coupling_plan(sizes, kind, form, Direction::Forward).unwrap();
            let butterfly = butterfly_plan([samples, 4, pixels], kind).unwrap();
            let matrix = MatrixSizes {
                order: 29,
                length: None,
                copies: 1.0,
            };
            let log_det = log_det_plan(&[matrix; 4], samples, kind).unwrap();
            let pad = pad_plan([samples, pixels, 2], [1; 4], kind).unwrap();
            let weight_norm = weight_norm_plan(&[[samples, pixels]], kind).unwrap();
            let filters = filters_plan([3, 5, pixels], true, kind).unwrap();
            let elu = elu_plan([samples, 3, 5, pixels], kind).unwrap();
            let small = [
                butterfly.forward,
                butterfly.backward,
                log_det.forward,
                log_det.backward,
                pad.launch,
                weight_norm.forward,
                weight_norm.backward,
                filters.forward,
                filters.backward,
                elu.forward,
                elu.backward,
            ];
            small.iter().flatten().for_each(&mut add);
            let both = actnorm.forward.iter().chain(&actnorm.backward);
            let all = both.chain(&coupling.forward).chain(&coupling.backward);
            all.for_each(&mut add);
            add(&channels_plan([3, 100, 50], kind).unwrap().0);
        }
    }
    found
}
