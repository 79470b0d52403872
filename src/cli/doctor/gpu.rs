//! Findings on the GPU: driver, cards, the kernels in this program, and the compiler that made them.

use super::finding::Finding;
use super::machine::output;
use crate::cuda::probe::{DriverReport, Gpu};
use std::env;
use std::fs;
use std::path::PathBuf;

/// Compute capabilities of the kernels in this program, e.g. `80,90`; empty in a build for the CPU only.
pub(super) const EMBEDDED_ARCHS: &str = match option_env!("INVERSE_FLOW_CUDA_ARCHS") {
    Some(archs) => archs,
    None => "",
};
const NVIDIA: &str = "0x10de";
const DISPLAY_CONTROLLER: &str = "0x03";

/// Whether an NVIDIA card is on the PCI bus, which is known without a driver.
pub(super) fn has_card() -> bool {
    let devices = fs::read_dir("/sys/bus/pci/devices")
        .into_iter()
        .flatten()
        .flatten();
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    devices.map(|device| device.path()).any(|device| {
        read(device.join("vendor")).starts_with(NVIDIA)
            && read(device.join("class")).starts_with(DISPLAY_CONTROLLER)
    })
}

/// Version of the kernel's NVIDIA module, e.g. `580.65.06`.
pub(super) fn module_version() -> Option<String> {
    module_version_in(&fs::read_to_string("/proc/driver/nvidia/version").ok()?)
}

fn module_version_in(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM"))?;
    let is_version =
        |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    line.split_whitespace().find(is_version).map(str::to_owned)
}

/// Names of `/dev/nvidia*`, sorted.
pub(super) fn device_nodes() -> Vec<String> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut nodes: Vec<_> = names.filter(|name| name.starts_with("nvidia")).collect();
    nodes.sort();
    nodes
}

/// The driver: its library, its kernel module and its device nodes.
pub(super) fn driver(
    report: &DriverReport,
    has_card: bool,
    module: Option<&str>,
    nodes: &[String],
) -> Finding {
    let name = "NVIDIA driver";
    let module = module.map_or("no kernel module".to_owned(), |version| {
        format!("kernel module {version}")
    });
    let nodes = if nodes.is_empty() {
        "no /dev/nvidia*".to_owned()
    } else {
        format!("/dev/{{{}}}", nodes.join(","))
    };
    match report.problem(has_card) {
        Some(problem) => Finding::warn(
            name,
            format!("{}; {module}, {nodes}", problem.what),
            problem.fix,
        ),
        None => {
            let cuda = report.cuda().unwrap_or_default();
            Finding::ok(name, format!("supports CUDA {cuda}; {module}, {nodes}"))
        }
    }
}

/// The cards.
pub(super) fn cards(report: &DriverReport) -> Finding {
    let name = "GPUs";
    let describe = |gpu: &Gpu| {
        let (major, minor) = gpu.capability;
        let gib = gpu.memory as f64 / (1_u64 << 30) as f64;
        format!(
            "{} (compute capability {major}.{minor}, {gib:.0} GiB)",
            gpu.name
        )
    };
    match report.gpus() {
        [] => Finding::warn(
            name,
            "none",
            "nothing, if the CPU is meant; else see the NVIDIA driver above",
        ),
        gpus => Finding::ok(
            name,
            gpus.iter().map(describe).collect::<Vec<_>>().join("; "),
        ),
    }
}

/// How the devices of `tests/emulated_gpu` are called.
const EMULATED: &str = "Emulated GPU";

/// That the devices are none: a warning, for whoever finds such a report.
pub(super) fn emulated(gpus: &[Gpu]) -> Option<Finding> {
    let emulated = gpus.iter().any(|gpu| gpu.name.starts_with(EMULATED));
    emulated.then(|| {
        Finding::warn(
            "emulated GPU",
            "an emulated device of the project's tests: no GPU, and no times mean anything",
            "nothing in a test; else run the program without scripts/emulated_gpu.sh",
        )
    })
}

/// `90` or `90a` as `(9, 0)`.
fn capability(arch: &str) -> Option<(u32, u32)> {
    let number: u32 = arch
        .trim()
        .trim_end_matches(char::is_alphabetic)
        .parse()
        .ok()?;
    Some((number / 10, number % 10))
}

/// Whether machine code for one of `archs` runs on a card: it does on the same major version from its minor version on.
fn has_machine_code(archs: &[(u32, u32)], card: (u32, u32)) -> bool {
    archs
        .iter()
        .any(|&arch| arch.0 == card.0 && arch.1 <= card.1)
}

/// Whether kernels built for `archs` run on a card: the last architecture is embedded as PTX too, which the driver
/// compiles for any later card.
fn runs_on(archs: &[(u32, u32)], card: (u32, u32)) -> bool {
    has_machine_code(archs, card) || archs.last().is_some_and(|&ptx| ptx <= card)
}

/// The kernels in this program, and whether they run on every card of this machine.
pub(super) fn kernels(archs: &str, gpus: &[Gpu]) -> Finding {
    let name = "CUDA kernels";
    let built: Vec<_> = archs.split(',').filter_map(capability).collect();
    if built.is_empty() {
        let fix = "scripts/setup.sh && cargo build --release (without INVERSE_FLOW_CUDA=0)";
        return Finding::warn(name, "none: this program was built for the CPU only", fix);
    }
    let found = format!("sm_{}, PTX for the last", archs.replace(',', " sm_"));
    let worst = gpus
        .iter()
        .filter(|gpu| !has_machine_code(&built, gpu.capability))
        .min_by_key(|gpu| runs_on(&built, gpu.capability));
    match worst {
        None => Finding::ok(name, found),
        Some(gpu) => {
            let (major, minor) = gpu.capability;
            let how = if runs_on(&built, gpu.capability) {
                "only PTX, which the driver compiles at the first use, runs on"
            } else {
                "none runs on"
            };
            Finding::warn(
                name,
                format!("{found}: {how} {} (sm_{major}{minor})", gpu.name),
                format!("INVERSE_FLOW_CUDA_ARCHS={major}{minor} cargo build --release"),
            )
        }
    }
}

/// An nvcc and its version, looked for in the order of build.rs.
pub(super) fn find_nvcc() -> Option<(PathBuf, String)> {
    let root = env::var_os("CARGO_MANIFEST_DIR").map_or_else(PathBuf::new, PathBuf::from);
    let named = env::var_os("INVERSE_FLOW_NVCC").map(PathBuf::from);
    let home = env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin/nvcc"));
    let candidates = [
        named,
        Some(root.join(".venv/cuda/bin/nvcc")),
        home,
        Some("nvcc".into()),
    ];
    candidates.into_iter().flatten().find_map(|path| {
        let text = output(path.to_str()?, &["--version"])?;
        Some((path, nvcc_version_in(&text)?))
    })
}

fn nvcc_version_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("release ")?;
    rest.split([',', '\n']).next().map(str::to_owned)
}

/// The compiler of the kernels.
pub(super) fn nvcc(archs: &str, found: Option<(PathBuf, String)>) -> Finding {
    let name = "nvcc";
    match found {
        Some((path, version)) => Finding::ok(name, format!("{version} at {}", path.display())),
        None if !archs.is_empty() => Finding::ok(
            name,
            "none here; only needed to build, and the kernels are built",
        ),
        None => Finding::warn(
            name,
            "none, so a build has no CUDA kernels",
            "scripts/setup.sh (in the checkout)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn gpu(capability: (u32, u32)) -> Gpu {
        Gpu {
            name: "card".into(),
            capability,
            memory: 80 << 30,
        }
    }

    #[test]
    fn only_an_emulated_device_is_called_one() {
        let mut gpus = [gpu((9, 0)), gpu((9, 0))];
        assert_eq!(emulated(&gpus), None);
        gpus[1].name = "Emulated GPU".into();
        let finding = emulated(&gpus).unwrap();
        assert!(finding.found.contains("no GPU"), "{finding:?}");
    }

    #[test]
    fn machine_code_runs_within_a_major_version_and_ptx_on_later_ones() {
        let built = [(7, 5), (8, 0), (9, 0)];
        for card in [(7, 5), (8, 0), (8, 9), (9, 0), (10, 0), (12, 1)] {
            assert!(runs_on(&built, card), "{card:?}");
        }
        assert!(!runs_on(&built, (7, 0)));
        assert!(!runs_on(&[(8, 6)], (8, 0)));
        assert!(!runs_on(&[], (9, 0)));
    }

    #[test]
    fn a_card_without_kernels_is_named_with_the_build_that_serves_it() {
        let finding = kernels("80,90", &[gpu((9, 0)), gpu((7, 5))]);
        assert_eq!(finding.verdict, Verdict::Warn);
        assert!(
            finding.found.contains("none runs on card (sm_75)"),
            "{finding:?}"
        );
        assert_eq!(
            finding.fix.as_deref(),
            Some("INVERSE_FLOW_CUDA_ARCHS=75 cargo build --release")
        );
        let through_ptx = kernels("75", &[gpu((9, 0))]);
        assert_eq!(through_ptx.verdict, Verdict::Warn);
        assert!(
            through_ptx.found.contains("only PTX") && through_ptx.found.ends_with("card (sm_90)"),
            "{through_ptx:?}"
        );
        let both = kernels("75,80", &[gpu((9, 0)), gpu((7, 0))]);
        assert!(
            both.found.ends_with("none runs on card (sm_70)"),
            "{both:?}"
        );
        assert_eq!(kernels("80,90a", &[gpu((9, 0))]).verdict, Verdict::Ok);
        assert_eq!(kernels("80,90", &[]).verdict, Verdict::Ok);
        assert_eq!(kernels("", &[]).verdict, Verdict::Warn);
    }

    #[test]
    fn the_driver_finding_names_cause_module_and_nodes() {
        let missing = DriverReport::Missing { reason: "x".into() };
        let finding = driver(
            &missing,
            true,
            Some("570.1"),
            &["nvidia0".into(), "nvidiactl".into()],
        );
        assert_eq!(finding.verdict, Verdict::Warn);
        assert!(
            finding
                .found
                .contains("kernel module 570.1, /dev/{nvidia0,nvidiactl}"),
            "{finding:?}"
        );
        let ready = DriverReport::Ready {
            cuda: 13_000,
            gpus: vec![gpu((9, 0))],
        };
        assert_eq!(driver(&ready, true, None, &[]).verdict, Verdict::Ok);
        assert_eq!(cards(&ready).found, "card (compute capability 9.0, 80 GiB)");
        assert_eq!(cards(&missing).verdict, Verdict::Warn);
    }

    #[test]
    fn versions_are_read_from_what_the_tools_print() {
        let proc = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC version: 12.2.0\n";
        assert_eq!(module_version_in(proc).as_deref(), Some("580.65.06"));
        assert_eq!(module_version_in("GCC version: 12.2.0"), None);
        let nvcc = "Cuda compilation tools, release 13.0, V13.0.88\nBuild x";
        assert_eq!(nvcc_version_in(nvcc).as_deref(), Some("13.0"));
    }

    #[test]
    fn nvcc_is_missed_only_by_a_build_without_kernels() {
        assert_eq!(super::nvcc("90", None).verdict, Verdict::Ok);
        assert_eq!(super::nvcc("", None).verdict, Verdict::Warn);
    }
}
