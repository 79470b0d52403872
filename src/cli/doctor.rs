//! `inverse-flow doctor`: what this machine has, what is wrong with it, and a fix for each problem.
//!
//! Every fact becomes a [`Finding`] with one verdict. A machine without a GPU is not broken: the verdict is
//! then `warn` with the cause. Only what keeps the program from working on the CPU is a `fail`.

mod datasets;
mod distributed;
mod finding;
mod gpu;
mod machine;
mod torch;

use crate::cuda::{precision, probe};
use crate::data::default_data_dir;
use crate::reproduce::Environment;
use crate::words;
use clap::Args;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};

pub use finding::{Finding, Verdict};

/// Check driver, libtorch, kernels and data on this machine, and suggest a fix for each problem
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Folder of the data sets [default: $INVERSE_FLOW_DATA, else data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// All findings and the worst of their verdicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// In the order in which one thing rests on another.
    pub findings: Vec<Finding>,
    /// The worst verdict of all.
    pub verdict: Verdict,
}

impl Diagnosis {
    fn new(findings: Vec<Finding>) -> Self {
        let verdict = findings
            .iter()
            .map(|finding| finding.verdict)
            .max()
            .unwrap_or(Verdict::Ok);
        Self { findings, verdict }
    }

    /// Looks at this machine; `data_dir` holds the data sets.
    pub fn of_this_machine(data_dir: &Path) -> Self {
        let driver = probe::driver();
        let has_card = gpu::has_card();
        let libtorch = torch::Libtorch::loaded();
        let mut findings = vec![
            machine::system(),
            machine::cpu(),
            machine::memory(),
            machine::disk(),
            torch::version(libtorch.as_ref()),
            torch::library_paths(libtorch.as_ref(), &torch::SearchPaths::of_this_process()),
            gpu::driver(
                &driver,
                has_card,
                gpu::module_version().as_deref(),
                &gpu::device_nodes(),
            ),
            gpu::cards(&driver),
        ];
        findings.extend(gpu::emulated(driver.gpus()));
        findings.extend([
            torch::cuda_half(libtorch.as_ref(), driver.problem(has_card).as_ref()),
            torch::float32(precision::get()),
            gpu::kernels(gpu::EMBEDDED_ARCHS, driver.gpus()),
            gpu::nvcc(gpu::EMBEDDED_ARCHS, gpu::find_nvcc()),
            distributed::torchrun(distributed::find_torchrun()),
            distributed::gloo(crate::distributed::probe::gloo()),
            distributed::nccl(
                driver.gpus().len(),
                crate::distributed::probe::nccl_missing(),
                crate::distributed::probe::nccl,
            ),
            distributed::processes(crate::distributed::Place::from_env()),
            datasets::glyphs(),
            datasets::mnist(data_dir),
            datasets::cifar10(data_dir),
        ]);
        Self::new(findings)
    }

    /// The report as aligned text, one finding a line with its fix below it.
    fn text(&self, colour: bool) -> String {
        let width = self
            .findings
            .iter()
            .map(|f| f.name.len())
            .max()
            .unwrap_or(0);
        let mut text = String::new();
        for finding in &self.findings {
            let verdict = finding.verdict.text(colour);
            let _ = writeln!(
                text,
                "{verdict}  {:width$}  {}",
                finding.name, finding.found
            );
            if let Some(fix) = &finding.fix {
                let _ = writeln!(text, "{:6}{:width$}  → {fix}", "", "");
            }
        }
        let summary = match self.verdict {
            Verdict::Ok => "All is well.",
            Verdict::Warn => "The program works here; what it does without is marked warn.",
            Verdict::Fail => "The program cannot work here until what is marked FAIL is mended.",
        };
        let _ = write!(text, "\n{summary}");
        text
    }

    fn failures(&self) -> Vec<&'static str> {
        let failed = self.findings.iter().filter(|f| f.verdict == Verdict::Fail);
        failed.map(|finding| finding.name).collect()
    }
}

/// The machine and the program, for reports of measurements on `device`.
pub fn environment(device: tch::Device) -> Environment {
    let driver = probe::driver();
    let threads = tch::get_num_threads();
    let hardware = match device {
        tch::Device::Cuda(index) => match driver.gpus().get(index) {
            Some(gpu) => gpu.name.clone(),
            None => words::device(device),
        },
        _ => format!("{}; threads in use: {threads}", machine::cpu().found),
    };
    let libtorch = torch::version(torch::Libtorch::loaded().as_ref()).found;
    // where it lies on this machine is nobody else's business
    let libtorch = libtorch.split(" in ").next().unwrap_or_default().to_owned();
    let mut facts = vec![
        (
            "program".to_owned(),
            format!("inverse-flow {}", env!("CARGO_PKG_VERSION")),
        ),
        ("libtorch".into(), libtorch),
        ("system".into(), machine::system().found),
        ("memory".into(), machine::memory().found),
    ];
    if device != tch::Device::Cpu {
        let version = gpu::module_version().unwrap_or_else(|| "unknown".into());
        let cuda = driver.cuda().unwrap_or_default();
        facts.push((
            "NVIDIA driver".into(),
            format!("{version}, supports CUDA {cuda}"),
        ));
        facts.push(("float32".into(), float32(device)));
    }
    Environment {
        hardware,
        commit: machine::commit(),
        facts,
    }
}

/// How exactly float32 numbers are multiplied on `device`, for results of measurements.
pub fn float32(device: tch::Device) -> String {
    match device {
        // libtorch's own settings for CPUs, which nobody here changes
        tch::Device::Cpu => "ieee".to_owned(),
        _ => precision::get().map_or_else(|err| err.to_string(), |found| found.to_string()),
    }
}

impl Verdict {
    /// Four columns wide, green, yellow or red on a terminal.
    fn text(self, colour: bool) -> String {
        let (word, code) = match self {
            Self::Ok => ("ok  ", 32),
            Self::Warn => ("warn", 33),
            Self::Fail => ("FAIL", 31),
        };
        if colour {
            format!("\x1b[{code}m{word}\x1b[0m")
        } else {
            word.to_owned()
        }
    }
}

impl DoctorArgs {
    /// Prints the report.
    ///
    /// # Errors
    /// Something is wrong that keeps the program from working, on the CPU too.
    pub fn run(&self) -> anyhow::Result<()> {
        let data_dir = self.data_dir.clone().unwrap_or_else(default_data_dir);
        let report = Diagnosis::of_this_machine(&data_dir);
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &report)?;
            writeln!(out)?;
        } else {
            let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
            writeln!(out, "{}", report.text(colour))?;
        }
        match report.failures().as_slice() {
            [] => Ok(()),
            names => Err(anyhow::anyhow!(
                "doctor: {} must be mended",
                names.join(", ")
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Diagnosis {
        Diagnosis::new(vec![
            Finding::ok("cpu", "one"),
            Finding::warn("NVIDIA driver", "no NVIDIA driver", "use the CPU"),
            Finding::fail("libtorch", "libtorch 2.10.0", "scripts/setup.sh"),
        ])
    }

    #[test]
    fn the_worst_verdict_counts_and_is_named() {
        assert_eq!(report().verdict, Verdict::Fail);
        assert_eq!(report().failures(), ["libtorch"]);
        assert_eq!(
            Diagnosis::new(report().findings[..2].to_vec()).verdict,
            Verdict::Warn
        );
        assert_eq!(Diagnosis::new(Vec::new()).verdict, Verdict::Ok);
    }

    #[test]
    fn text_is_aligned_and_coloured_only_on_request() {
        let plain = report().text(false);
        let lines: Vec<_> = plain.lines().collect();
        assert_eq!(lines[0], "ok    cpu            one");
        assert_eq!(lines[1], "warn  NVIDIA driver  no NVIDIA driver");
        assert_eq!(lines[2], "                     → use the CPU");
        assert!(!plain.contains('\x1b'));
        assert!(report().text(true).contains("\x1b[31mFAIL\x1b[0m"));
    }

    #[test]
    fn the_facts_of_a_report_tell_the_precision_of_a_gpu() {
        // the outcome tells whether there is a GPU; the precision is set either way
        let _ = crate::cuda::libtorch::load();
        let facts = environment(tch::Device::Cuda(0)).facts;
        assert!(
            facts.contains(&("float32".into(), "ieee".into())),
            "{facts:?}"
        );
    }

    #[test]
    fn json_has_the_four_keys_and_lower_case_verdicts() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["verdict"], "fail");
        let keys: Vec<_> = json["findings"][1].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["name", "verdict", "found", "fix"]);
        assert_eq!(json["findings"][1]["verdict"], "warn");
        assert!(json["findings"][0]["fix"].is_null());
    }
}
