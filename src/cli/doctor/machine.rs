//! Findings on the machine itself: operating system, CPU, memory, disk.

use super::finding::Finding;
use crate::words::counted;
use std::fs;
use std::process::{Command, Stdio};

const GIB: f64 = (1_u64 << 30) as f64;
/// Room for checkpoints and samples of a run.
const NEEDED_DISK_GB: f64 = 1.0;
/// The quick presets stay below this.
const NEEDED_MEMORY_GIB: f64 = 2.0;

/// Standard output of a program, if it is there and succeeds.
pub(super) fn output(program: &str, args: &[&str]) -> Option<String> {
    let run = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    run.status
        .success()
        .then(|| String::from_utf8_lossy(&run.stdout).trim().to_owned())
}

/// The value of `key` in lines of the form `key<separator>value`, without quotes.
fn field<'a>(text: &'a str, key: &str, separator: char) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(separator))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().trim_matches('"'))
}

/// The commit of the checkout that this program was built in, with `+changes` if files differ from it.
pub(super) fn commit() -> String {
    let git = |args: &[&str]| {
        let root = ["-C", env!("CARGO_MANIFEST_DIR")];
        output("git", &[&root, args].concat())
    };
    match git(&["rev-parse", "--short=10", "HEAD"]) {
        None => "unknown: no git checkout".into(),
        Some(commit) => match git(&["status", "--porcelain", "--untracked-files=no"]) {
            Some(changes) if !changes.is_empty() => commit + "+changes",
            _ => commit,
        },
    }
}

/// Operating system, kernel and C library.
pub(super) fn system() -> Finding {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = field(&release, "PRETTY_NAME", '=').unwrap_or(std::env::consts::OS);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let libc = output("getconf", &["GNU_LIBC_VERSION"]).unwrap_or_else(|| "unknown libc".into());
    let arch = std::env::consts::ARCH;
    Finding::ok(
        "system",
        format!("{system}, kernel {}, {libc}, {arch}", kernel.trim()),
    )
}

/// Model, cores and the vector instructions that the CPU kernels can use.
pub(super) fn cpu() -> Finding {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&info, "model name", ':').unwrap_or("unknown model");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let vectors = vector_instructions();
    let threads = counted(threads, "thread");
    let found = format!("{model}, {threads}, {}", vectors.join(" "));
    let found = match crate::ops::instruction_set() {
        Ok(set) => format!("{found}; the convolutions use {set}"),
        Err(err) => {
            let fix = "unset INVERSE_FLOW_SIMD: the best instruction set is then chosen";
            return Finding::fail("cpu", format!("{found}; {err}"), fix);
        }
    };
    if vectors.contains(&"AVX2") || !cfg!(target_arch = "x86_64") {
        Finding::ok("cpu", found)
    } else {
        Finding::warn(
            "cpu",
            found,
            "slow: the kernels want AVX2 and FMA; use a CPU from 2015 or later",
        )
    }
}

#[cfg(target_arch = "x86_64")]
fn vector_instructions() -> Vec<&'static str> {
    let all = [
        ("AVX2", std::is_x86_feature_detected!("avx2")),
        ("FMA", std::is_x86_feature_detected!("fma")),
        ("AVX-512F", std::is_x86_feature_detected!("avx512f")),
    ];
    let have: Vec<_> = all
        .iter()
        .filter(|(_, has)| *has)
        .map(|(name, _)| *name)
        .collect();
    if have.is_empty() {
        vec!["no AVX2"]
    } else {
        have
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vector_instructions() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}

/// Memory: of the machine, and what is free of it.
pub(super) fn memory() -> Finding {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let gib = |key| {
        let kib = field(&info, key, ':')?.split_whitespace().next()?;
        Some(kib.parse::<f64>().ok()? * 1024.0 / GIB)
    };
    memory_finding(gib("MemTotal"), gib("MemAvailable"))
}

fn memory_finding(total: Option<f64>, available: Option<f64>) -> Finding {
    let (Some(total), Some(available)) = (total, available) else {
        return Finding::ok("memory", "unknown");
    };
    let found = format!("{total:.1} GiB, {available:.1} GiB available");
    if available < NEEDED_MEMORY_GIB {
        Finding::warn(
            "memory",
            found,
            "close other programs, or train with a smaller --batch-size",
        )
    } else {
        Finding::ok("memory", found)
    }
}

/// Free disk where runs are written.
pub(super) fn disk() -> Finding {
    disk_finding(output("df", &["-Pk", "."]).as_deref())
}

fn disk_finding(df: Option<&str>) -> Finding {
    let free = df
        .and_then(|text| text.lines().nth(1))
        .and_then(|line| line.split_whitespace().nth(3))
        .and_then(|kib| kib.parse::<f64>().ok())
        .map(|kib| kib * 1024.0 / 1e9);
    match free {
        None => Finding::ok("disk", "unknown (df did not answer)"),
        Some(free) if free < NEEDED_DISK_GB => Finding::warn(
            "disk",
            format!("{free:.1} GB free in the current folder"),
            "free some space: checkpoints and samples need room, and a first build needs 10 GB",
        ),
        Some(free) => Finding::ok("disk", format!("{free:.0} GB free in the current folder")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn fields_are_found_and_unquoted() {
        let text = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian 12\"\n";
        assert_eq!(field(text, "PRETTY_NAME", '='), Some("Debian 12"));
        assert_eq!(
            field("model name\t: CPU: fast\n", "model name", ':'),
            Some("CPU: fast")
        );
        assert_eq!(field(text, "VERSION", '='), None);
    }

    #[test]
    fn little_disk_and_memory_are_warned_of() {
        let df = |kib: &str| {
            disk_finding(Some(&format!(
                "Filesystem 1024-blocks Used Available Capacity Mounted\n/dev/vda 9 9 {kib} 9% /"
            )))
        };
        assert_eq!(df("500000").verdict, Verdict::Warn);
        assert_eq!(df("50000000").verdict, Verdict::Ok);
        assert!(
            df("50000000").found.starts_with("51 GB"),
            "{:?}",
            df("50000000")
        );
        assert_eq!(disk_finding(None).verdict, Verdict::Ok);
        assert_eq!(memory_finding(Some(8.0), Some(0.5)).verdict, Verdict::Warn);
        assert_eq!(memory_finding(Some(8.0), Some(5.0)).verdict, Verdict::Ok);
    }
}
