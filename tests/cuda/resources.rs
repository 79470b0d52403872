//! Every launch that the program can plan fits onto the cards that it is compiled for, by the numbers of the compiled
//! kernels themselves: ptxas's, which build.rs keeps.

#[path = "../../kernels/resources.rs"]
mod said;

use crate::launched::launches;
use crate::skip::skip;
use said::Resources;
use std::collections::{BTreeMap, BTreeSet};

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

/// Registers that a block takes of a multiprocessor.
fn registers(kernel: &Resources, threads: u32) -> u32 {
    let warps = threads.div_ceil(32).next_multiple_of(PARTS);
    warps * (kernel.registers * 32).next_multiple_of(UNIT)
}

/// What does not fit, one line each.
fn faults(build: &Build) -> Vec<String> {
    let mut faults = BTreeSet::new();
    // a kernel whose matrices need more shared memory than some cards have is launched on others alone
    let limits: BTreeSet<_> = SHARED_KIB.iter().map(|(_, kib)| kib * 1024).collect();
    let by_limit: BTreeMap<_, _> = limits
        .iter()
        .map(|&limit| (limit, launches(limit)))
        .collect();
    let all = by_limit.values().flatten();
    let launched: BTreeSet<_> = all.map(|(name, _, _)| *name).collect();
    for (arch, kernels) in build {
        let Some((_, kib)) = SHARED_KIB.iter().find(|(known, _)| known == arch) else {
            faults.insert(format!("{arch}: its limits are not known here"));
            continue;
        };
        let limit = kib * 1024;
        for &(name, threads, dynamic) in &by_limit[&limit] {
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
            if !launched.contains(name.as_str()) {
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
