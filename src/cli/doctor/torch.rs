//! Findings on libtorch: which one runs, how it was found, and whether its CUDA half works.

use super::finding::Finding;
use crate::cuda::precision::{Float32, Precision};
use crate::cuda::probe::{self, Problem};
use crate::words::counted;
use crate::Result;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The libtorch that tch and torch-sys are made for.
const EXPECTED: &str = "2.11.0";
const SET_UP: &str = "unset LIBTORCH LD_LIBRARY_PATH; scripts/setup.sh && cargo build --release";
/// The folder that the build linked with, which the program's rpath names.
const RPATH: Option<&str> = option_env!("INVERSE_FLOW_LIBTORCH_LIB");

/// The libtorch that this process has loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Libtorch {
    /// Folder of `libtorch_cpu.so`.
    lib: PathBuf,
    /// e.g. `2.11.0+cu130`; `None` if no file tells.
    version: Option<String>,
}

impl Libtorch {
    /// Found in the memory map of this process, which no environment variable can make lie.
    pub(super) fn loaded() -> Option<Self> {
        let maps = fs::read_to_string("/proc/self/maps").ok()?;
        let lib = folder_of("libtorch_cpu.so", &maps)?;
        Some(Self {
            version: version_in(lib.parent()?),
            lib,
        })
    }
}

/// The folder that a library was mapped from.
fn folder_of(library: &str, maps: &str) -> Option<PathBuf> {
    let paths = maps
        .lines()
        .filter_map(|line| Some(Path::new(&line[line.find('/')?..])));
    let mut folders = paths
        .filter(|path| path.file_name().is_some_and(|name| name == library))
        .filter_map(Path::parent);
    folders.next().map(Path::to_path_buf)
}

/// The version in `version.py` (pip package) or `build-version` (archive) of the folder of libtorch.
fn version_in(libtorch: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(libtorch.join("version.py")) {
        let line = text.lines().find(|line| line.starts_with("__version__"))?;
        return line.split(['\'', '"']).nth(1).map(str::to_owned);
    }
    let text = fs::read_to_string(libtorch.join("build-version")).ok()?;
    Some(text.trim().to_owned())
}

/// Version of the libtorch that runs.
pub(super) fn version(libtorch: Option<&Libtorch>) -> Finding {
    let name = "libtorch";
    let Some(libtorch) = libtorch else {
        return Finding::warn(
            name,
            "loaded, but not visible in /proc/self/maps",
            "mount /proc to let doctor see it",
        );
    };
    let at = libtorch.lib.display();
    match &libtorch.version {
        Some(version) if version.split('+').next() == Some(EXPECTED) => {
            Finding::ok(name, format!("{version} in {at}"))
        }
        Some(version) => Finding::fail(
            name,
            format!("{version} in {at}, and {EXPECTED} is needed"),
            SET_UP,
        ),
        None => Finding::warn(
            name,
            format!("of an unknown version in {at} (no version.py, no build-version)"),
            format!("make sure that it is {EXPECTED}, or: {SET_UP}"),
        ),
    }
}

/// What decides which libtorch is found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SearchPaths {
    libtorch: Option<PathBuf>,
    ld_library_path: Option<String>,
    rpath: Option<PathBuf>,
}

impl SearchPaths {
    pub(super) fn of_this_process() -> Self {
        Self {
            libtorch: env::var_os("LIBTORCH").map(PathBuf::from),
            ld_library_path: env::var("LD_LIBRARY_PATH")
                .ok()
                .filter(|path| !path.is_empty()),
            rpath: RPATH.map(PathBuf::from),
        }
    }
}

/// Whether two paths are one folder, through links.
fn same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// Where libtorch was looked for, and whether the one that the build linked with won.
pub(super) fn library_paths(libtorch: Option<&Libtorch>, environment: &SearchPaths) -> Finding {
    let name = "library paths";
    let shown = |path: &Option<PathBuf>| {
        path.as_ref()
            .map_or("not set".into(), |path| path.display().to_string())
    };
    let found = format!(
        "rpath {}, LIBTORCH {}, LD_LIBRARY_PATH {}",
        shown(&environment.rpath),
        shown(&environment.libtorch),
        environment.ld_library_path.as_deref().unwrap_or("not set"),
    );
    let Some(Libtorch { lib, .. }) = libtorch else {
        return Finding::ok(name, found);
    };
    if environment
        .rpath
        .as_ref()
        .is_some_and(|rpath| !same(rpath, lib))
    {
        return Finding::warn(
            name,
            format!(
                "{found}; loaded from {}, not from where it was linked",
                lib.display()
            ),
            "take the other libtorch out of LD_LIBRARY_PATH, or build again: cargo build --release",
        );
    }
    let elsewhere = |root: &PathBuf| !same(&root.join("lib"), lib);
    if environment.libtorch.as_ref().is_some_and(elsewhere) {
        return Finding::warn(
            name,
            format!(
                "{found}; LIBTORCH is read by builds only, and this one used {}",
                lib.display()
            ),
            "unset LIBTORCH, or build again to use it: cargo build --release",
        );
    }
    Finding::ok(name, found)
}

/// Whether libtorch can compute on the GPU; `problem` is what is wrong with the driver.
pub(super) fn cuda_half(libtorch: Option<&Libtorch>, problem: Option<&Problem>) -> Finding {
    let name = "libtorch CUDA";
    if tch::Cuda::is_available() {
        let cudnn = if tch::Cuda::cudnn_is_available() {
            "with"
        } else {
            "without"
        };
        return Finding::ok(
            name,
            format!(
                "{}, {cudnn} cuDNN",
                counted(tch::Cuda::device_count(), "device")
            ),
        );
    }
    let library = libtorch.map(|libtorch| libtorch.lib.join("libtorch_cuda.so"));
    let Some(library) = library.filter(|path| path.exists()) else {
        return Finding::warn(
            name,
            "this libtorch is built for the CPU only (no libtorch_cuda.so)",
            SET_UP,
        );
    };
    if let Some(problem) = problem {
        return Finding::warn(
            name,
            format!("installed, not used: {}", problem.what),
            problem.fix.as_str(),
        );
    }
    // the driver works, so the fault is on this side: see whether the library itself can be loaded
    match probe::load_globally(&library) {
        Err(reason) => Finding::warn(
            name,
            format!("cannot be loaded: {reason}"),
            format!("rm -rf .venv; {SET_UP}"),
        ),
        Ok(()) if tch::Cuda::is_available() => Finding::warn(
            name,
            "works, but was not loaded at the start of the program",
            "build again: cargo build --release",
        ),
        Ok(()) => Finding::warn(
            name,
            "loaded, but libtorch sees no GPU though the driver does",
            "unset CUDA_VISIBLE_DEVICES, and see what `nvidia-smi` says",
        ),
    }
}

/// How exactly libtorch multiplies float32 numbers on GPUs. The program sets it where it starts.
pub(super) fn float32(precision: Result<Precision>) -> Finding {
    let name = "float32 on GPUs";
    let exact = Float32::Ieee;
    match precision {
        Ok(
            found @ Precision {
                convolutions,
                products,
            },
        ) if [convolutions, products] == [exact; 2] => Finding::ok(
            name,
            format!("{found}: no TF32 in convolutions and matrix products"),
        ),
        Ok(found) => Finding::warn(
            name,
            format!("{found}: inverses are not exact"),
            "report it: the program has not set float32 where it started",
        ),
        Err(err) => Finding::warn(name, err.to_string(), SET_UP),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn libtorch(lib: &Path, version: Option<&str>) -> Libtorch {
        Libtorch {
            lib: lib.to_path_buf(),
            version: version.map(str::to_owned),
        }
    }

    #[test]
    fn the_map_tells_the_folder_with_blanks_in_it_too() {
        let maps = "7f00-7f01 r-xp 00000000 08:01 1   /usr/lib/libc.so.6\n\
                    7f02-7f03 r-xp 00000000 08:01 2   /my torch/lib/libtorch_cpu.so\n\
                    7f04-7f05 rw-p 00000000 00:00 0   [heap]\n";
        assert_eq!(
            folder_of("libtorch_cpu.so", maps),
            Some(PathBuf::from("/my torch/lib"))
        );
        assert_eq!(folder_of("libtorch_cuda.so", maps), None);
    }

    #[test]
    fn both_kinds_of_version_file_are_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(version_in(dir.path()), None);
        fs::write(dir.path().join("build-version"), "2.11.0+cpu\n").unwrap();
        assert_eq!(version_in(dir.path()).as_deref(), Some("2.11.0+cpu"));
        fs::write(
            dir.path().join("version.py"),
            "x = 1\n__version__ = '2.10.0+cu130'\n",
        )
        .unwrap();
        assert_eq!(version_in(dir.path()).as_deref(), Some("2.10.0+cu130"));
    }

    #[test]
    fn another_version_is_a_failure_and_an_unknown_one_a_warning() {
        let at = Path::new("/torch/lib");
        assert_eq!(
            version(Some(&libtorch(at, Some("2.11.0+cu130")))).verdict,
            Verdict::Ok
        );
        let wrong = version(Some(&libtorch(at, Some("2.11.1"))));
        assert_eq!(wrong.verdict, Verdict::Fail);
        assert!(
            wrong
                .found
                .contains("2.11.1 in /torch/lib, and 2.11.0 is needed"),
            "{wrong:?}"
        );
        assert_eq!(version(Some(&libtorch(at, None))).verdict, Verdict::Warn);
    }

    #[test]
    fn a_libtorch_from_elsewhere_is_noticed() {
        let here = libtorch(Path::new("/a/lib"), None);
        let environment = |rpath: &str, libtorch: Option<&str>| SearchPaths {
            rpath: Some(rpath.into()),
            libtorch: libtorch.map(PathBuf::from),
            ld_library_path: None,
        };
        let verdict = |environment| library_paths(Some(&here), &environment).verdict;
        assert_eq!(verdict(environment("/a/lib", Some("/a"))), Verdict::Ok);
        assert_eq!(verdict(environment("/a/lib", None)), Verdict::Ok);
        assert_eq!(verdict(environment("/b/lib", None)), Verdict::Warn);
        assert_eq!(verdict(environment("/a/lib", Some("/b"))), Verdict::Warn);
    }

    #[test]
    fn any_tf32_is_a_warning() {
        let finding = |convolutions, products| {
            float32(Ok(Precision {
                convolutions,
                products,
            }))
        };
        let (ieee, tf32) = (Float32::Ieee, Float32::Tf32);
        assert_eq!(finding(ieee, ieee).verdict, Verdict::Ok);
        for (found, text) in [
            (finding(tf32, ieee), "tf32 in convolutions:"),
            (finding(ieee, tf32), "tf32 in matrix products:"),
            (finding(tf32, tf32), "tf32:"),
        ] {
            assert_eq!(found.verdict, Verdict::Warn);
            assert!(found.found.starts_with(text), "{found:?}");
        }
    }

    #[test]
    fn this_process_runs_the_expected_libtorch() {
        let _loaded = tch::Tensor::from(1.0);
        let found = version(Libtorch::loaded().as_ref());
        assert_eq!(found.verdict, Verdict::Ok, "{found:?}");
    }
}
