//! Every launch that the program can plan fits onto the cards that it is compiled for, by the numbers of the compiled
//! kernels themselves: ptxas's, which build.rs keeps.

#[path = "../../kernels/resources.rs"]
mod said;

use crate::skip::skip;
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
use said::Resources;
use std::collections::{BTreeMap, BTreeSet};
use tch::Kind;

/// Shared memory of a block in KiB, with opt-in: "Maximum amount of shared memory per thread block" in the CUDA C++
/// Programming Guide 13.0, technical specifications per compute capability.
const SHARED_KIB: [(&str, u32); 7] = [
    ("sm_75", 64),
    ("sm_80", 163),
    ("sm_86", 99),
    ("sm_89", 99),
    ("sm_90", 227),
    ("sm_100", 227),
    ("sm_120", 99),
];
/// The same page: 32-bit registers of a block, the same for all of them. A multiprocessor has four parts, and gives a
/// warp registers in units of 256 from one of them.
const REGISTERS: u32 = 65_536;
const PARTS: u32 = 4;
const UNIT: u32 = 256;

/// Architecture, then its kernels.
type Build = BTreeMap<String, Vec<Resources>>;

/// What the kernels of this build take; empty in a build without kernels.
fn build() -> Build {
    let table = include_str!(concat!(env!("OUT_DIR"), "/resources.tsv"));
    let mut build = Build::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let (arch, rest) = line.split_once('\t').unwrap();
        let resources = parse(rest).unwrap_or_else(|| panic!("{line}"));
        build.entry(arch.to_owned()).or_default().push(resources);
    }
    build
}

/// Reads [`Resources::line`].
fn parse(line: &str) -> Option<Resources> {
    let mut fields = line.trim_end().split('\t');
    let mut number = || fields.next()?.parse().ok();
    Some(Resources {
        registers: number()?,
        shared: number()?,
        constant: number()?,
        stack: number()?,
        spills: [number()?, number()?],
        threads: number()?,
        kernel: fields.next()?.to_owned(),
    })
}

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
fn launches(shared: u32) -> BTreeSet<(&'static str, u32, u32)> {
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

/// Registers that a block takes of a multiprocessor.
fn registers(kernel: &Resources, threads: u32) -> u32 {
    let warps = threads.div_ceil(32).next_multiple_of(PARTS);
    warps * (kernel.registers * 32).next_multiple_of(UNIT)
}

/// What does not fit, one line each.
fn faults(build: &Build) -> Vec<String> {
    let mut faults = BTreeSet::new();
    for (arch, kernels) in build {
        let Some((_, kib)) = SHARED_KIB.iter().find(|(known, _)| known == arch) else {
            faults.insert(format!("{arch}: its limits are not known here"));
            continue;
        };
        let limit = kib * 1024;
        let launches = launches(limit);
        for &(name, threads, dynamic) in &launches {
            let Some(kernel) = kernels.iter().find(|kernel| kernel.kernel == name) else {
                faults.insert(format!("{arch}: no kernel is called {name}"));
                continue;
            };
            let (most, shared) = (kernel.threads, kernel.shared + dynamic);
            if threads > most {
                faults.insert(format!("{arch}, {name}: {threads} threads, at most {most}"));
            }
            if shared > limit {
                faults.insert(format!(
                    "{arch}, {name}: {shared} B shared, at most {limit}"
                ));
            }
        }
        for kernel in kernels {
            let name = &kernel.kernel;
            // with as many threads as any launch may have, so that no size is left out
            let registers = registers(kernel, kernel.threads);
            if registers > REGISTERS {
                faults.insert(format!(
                    "{arch}, {name}: {registers} registers, at most {REGISTERS}"
                ));
            }
            if !launches.iter().any(|(launched, _, _)| launched == name) {
                faults.insert(format!("{arch}: nothing launches {name}"));
            }
        }
    }
    faults.into_iter().collect()
}

#[test]
fn every_launch_fits_onto_every_card_of_the_build() {
    let build = build();
    if build.is_empty() {
        let why = "this build has no kernels";
        return skip("every_launch_fits_onto_every_card_of_the_build", why);
    }
    assert_eq!(faults(&build), Vec::<String>::new());
}

#[test]
fn a_kernel_that_takes_too_much_is_found() {
    let kernel = |name: &str| Resources {
        kernel: name.into(),
        registers: 168,
        shared: 0,
        constant: 0,
        stack: 0,
        spills: [0, 0],
        threads: 384,
    };
    let names: BTreeSet<_> = launches(227 * 1024)
        .iter()
        .map(|(name, _, _)| *name)
        .collect();
    let mut mine = Build::new();
    let fitting = || {
        names.iter().map(|name| Resources {
            threads: 512,
            registers: 128,
            ..kernel(name)
        })
    };
    mine.insert("sm_90".into(), fitting().collect());
    assert_eq!(faults(&mine), Vec::<String>::new());
    let with = |change: fn(&mut Resources)| {
        let mut kernels: Vec<_> = fitting().collect();
        let solve = kernels
            .iter_mut()
            .find(|kernel| kernel.kernel == "inv_conv_solve_f32_s4_j2");
        change(solve.unwrap());
        faults(&Build::from([("sm_90".into(), kernels)])).join("\n")
    };
    // 384 threads of 169 registers take as much as of 176
    let found = with(|kernel| (kernel.registers, kernel.threads) = (169, 384));
    assert_eq!(
        found,
        "sm_90, inv_conv_solve_f32_s4_j2: 67584 registers, at most 65536"
    );
    assert_eq!(
        with(|kernel| (kernel.registers, kernel.threads) = (168, 384)),
        ""
    );
    let found = with(|kernel| kernel.threads = 352);
    assert_eq!(
        found,
        "sm_90, inv_conv_solve_f32_s4_j2: 384 threads, at most 352"
    );
    assert!(with(|kernel| kernel.shared = 200 * 1024).contains(" B shared, at most 232448"));
    let found = with(|kernel| kernel.kernel = "other".into());
    assert!(
        found.contains("no kernel is called inv_conv_solve_f32_s4_j2"),
        "{found}"
    );
    assert!(found.contains("nothing launches other"), "{found}");
    mine.insert("sm_70".into(), Vec::new());
    assert_eq!(faults(&mine), ["sm_70: its limits are not known here"]);
}

/// What nvcc 13.0 printed for a kernel that spills and one that does not.
const LOG: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'spline_knots_f64' for 'sm_120'
ptxas info    : Function properties for spline_knots_f64
    24 bytes stack frame, 36 bytes spill stores, 40 bytes spill loads
ptxas info    : Used 56 registers, used 0 barriers, 24 bytes cumulative stack size
ptxas info    : Compile time = 85.9 ms
ptxas info    : Compiling entry function 'spline_apply_f32' for 'sm_120'
ptxas info    : Function properties for spline_apply_f32
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 1040 bytes smem, 8 bytes cmem[2]
ptxas info    : Compile time = 9.1 ms
";
const PTX: &str = "\
.visible .entry spline_apply_f32(
\t.param .align 8 .b8 spline_apply_f32_param_0[200]
)
.maxntid 128, 2, 1
.minnctapersm 4
{
}
.visible .entry spline_knots_f64(
\t.param .align 8 .b8 spline_knots_f64_param_0[200]
)
.maxntid 64, 1, 1
{
}
";

#[test]
fn what_ptxas_says_is_read() {
    let read = Resources::read(LOG, PTX).unwrap();
    let expected = [
        Resources {
            kernel: "spline_apply_f32".into(),
            registers: 40,
            shared: 1040,
            constant: 8,
            stack: 0,
            spills: [0, 0],
            threads: 256,
        },
        Resources {
            kernel: "spline_knots_f64".into(),
            registers: 56,
            shared: 0,
            constant: 0,
            stack: 24,
            spills: [36, 40],
            threads: 64,
        },
    ];
    assert_eq!(read, expected);
    for kernel in expected {
        assert_eq!(parse(&kernel.line()), Some(kernel));
    }
    for (log, ptx, problem) in [
        (
            LOG.replace("Used 40 registers, ", "Used "),
            PTX.to_owned(),
            "nothing of registers for spline_apply_f32",
        ),
        (
            LOG.to_owned(),
            PTX.replace(".maxntid 64, 1, 1\n", ""),
            "spline_knots_f64 has no __launch_bounds__",
        ),
        (
            LOG.to_owned(),
            PTX.replace("spline_knots_f64", "other"),
            "no kernel spline_knots_f64",
        ),
        (
            LOG.to_owned(),
            format!("{PTX}.visible .entry third(\n)\n{{"),
            "of 2 kernels, and the PTX has 3",
        ),
        (
            String::new(),
            PTX.to_owned(),
            "of 0 kernels, and the PTX has 2",
        ),
    ] {
        let found = Resources::read(&log, &ptx).unwrap_err();
        assert!(found.contains(problem), "{found}");
    }
}
