//! Compiles the C++ bridge (`src/ffi/*.cpp`) with the host compiler and the CUDA kernels (`kernels/*.cu`) with nvcc.
//!
//! Environment, every variable that changes the build:
//! - `LIBTORCH` (read by torch-sys): folder of libtorch 2.11.0; `.cargo/config.toml` points it at `.venv/libtorch`.
//! - `INVERSE_FLOW_CUDA=0`: build without kernels, for the CPU only.
//! - `INVERSE_FLOW_NVCC`: the nvcc to use; otherwise `.venv/cuda/bin/nvcc`, `$CUDA_HOME/bin/nvcc`, then `nvcc` on PATH.
//! - `INVERSE_FLOW_CUDA_ARCHS`: compute capabilities to compile for, e.g. `80,90`; PTX is added for the last one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Compute capabilities from Turing to Blackwell; the last one is embedded as PTX too, for cards that come later.
const ARCHS: &str = "75,80,86,89,90,100,120";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let libtorch = libtorch();
    bridge(&libtorch);
    kernels();
}

/// An environment variable, with the build made to depend on it.
fn var(name: &str) -> Option<String> {
    println!("cargo:rerun-if-env-changed={name}");
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn libtorch() -> PathBuf {
    let lib = env::var("DEP_TCH_LIBTORCH_LIB")
        .expect("torch-sys (a direct dependency) tells where libtorch is");
    // A library's link arguments do not reach its dependents: they repeat this line in their own build.rs.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    println!("cargo:rustc-env=INVERSE_FLOW_LIBTORCH_LIB={lib}");
    PathBuf::from(lib)
}

fn bridge(lib: &Path) {
    let include = lib
        .parent()
        .expect("libtorch/lib has a parent")
        .join("include");
    let sources = [
        "src/ffi/bridge.cpp",
        "src/ffi/runtime.cpp",
        "src/ffi/torchscript.cpp",
    ];
    for file in sources
        .into_iter()
        .chain(["src/ffi/bridge.h", "src/ffi/guard.h"])
    {
        println!("cargo:rerun-if-changed={file}");
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .files(sources)
        // torch's headers are not ours to warn about
        .flag("-isystem")
        .flag(include.to_str().expect("the path of libtorch is UTF-8"))
        .flag("-isystem")
        .flag(
            include
                .join("torch/csrc/api/include")
                .to_str()
                .expect("UTF-8, as above"),
        )
        // at::parallel_for is a header template over OpenMP; libgomp.so.1 is the one that libtorch has loaded
        .flag("-fopenmp")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .compile("inverse_flow_bridge");
}

/// Compiles every kernel file to a fatbin and writes the table of them, `$OUT_DIR/images.rs`.
fn kernels() {
    println!("cargo:rerun-if-changed=kernels");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    let archs = var("INVERSE_FLOW_CUDA_ARCHS").unwrap_or_else(|| ARCHS.to_owned());
    let off = var("INVERSE_FLOW_CUDA").as_deref() == Some("0");
    let nvcc = if off { None } else { nvcc() };
    let Some(nvcc) = nvcc else {
        if !off {
            println!(
                "cargo:warning=no nvcc found (looked at INVERSE_FLOW_NVCC, .venv/cuda, CUDA_HOME and PATH): building for \
                 the CPU only; scripts/setup.sh installs nvcc, INVERSE_FLOW_CUDA=0 silences this line"
            );
        }
        println!("cargo:rustc-env=INVERSE_FLOW_CUDA_ARCHS=");
        fs::write(out.join("images.rs"), "&[]").expect("OUT_DIR is writable");
        return;
    };
    let mut table = String::from("&[\n");
    for source in sources() {
        let name = source
            .file_stem()
            .and_then(|s| s.to_str())
            .expect("kernel files have UTF-8 names")
            .to_owned();
        let fatbin = out.join(format!("{name}.fatbin"));
        compile(&nvcc, &source, &fatbin, &archs);
        table += &format!(
            "    ({name:?}, include_bytes!({:?})),\n",
            fatbin.display().to_string()
        );
    }
    table.push(']');
    fs::write(out.join("images.rs"), table).expect("OUT_DIR is writable");
    println!("cargo:rustc-env=INVERSE_FLOW_CUDA_ARCHS={archs}");
}

fn sources() -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir("kernels")
        .expect("the crate has a folder `kernels`")
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "cu"))
        .collect();
    files.sort();
    files
}

fn nvcc() -> Option<PathBuf> {
    if let Some(named) = var("INVERSE_FLOW_NVCC") {
        return Some(PathBuf::from(named));
    }
    let root =
        PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let home = var("CUDA_HOME").map(|home| PathBuf::from(home).join("bin/nvcc"));
    let found = [Some(root.join(".venv/cuda/bin/nvcc")), home]
        .into_iter()
        .flatten()
        .find(|path| path.is_file());
    found.or_else(|| {
        Command::new("nvcc")
            .arg("--version")
            .output()
            .ok()
            .map(|_| PathBuf::from("nvcc"))
    })
}

fn compile(nvcc: &Path, source: &Path, fatbin: &Path, archs: &str) {
    let mut command = Command::new(nvcc);
    command
        .args([
            "-fatbin",
            "-std=c++17",
            "-O3",
            "-lineinfo",
            // a quarter of the size, for the program and the operator library alike
            "--compress-mode=size",
            "--threads",
            "0",
            "-o",
        ])
        .arg(fatbin)
        .arg(source);
    let archs: Vec<_> = archs.split(',').map(str::trim).collect();
    for arch in &archs {
        command.arg(format!("-gencode=arch=compute_{arch},code=sm_{arch}"));
    }
    if let Some(newest) = archs.last() {
        command.arg(format!(
            "-gencode=arch=compute_{newest},code=compute_{newest}"
        ));
    }
    // everything that the result depends on: a build script runs again for many reasons, nvcc takes a minute
    let inputs = format!("{command:?}\n{}", kernel_sources());
    let stamp = fatbin.with_extension("inputs");
    if fatbin.is_file() && fs::read_to_string(&stamp).is_ok_and(|before| before == inputs) {
        return;
    }
    match command.output() {
        Ok(output) if output.status.success() => {
            fs::write(stamp, inputs).expect("OUT_DIR is writable")
        }
        Ok(output) => {
            let log = String::from_utf8_lossy(&output.stderr);
            panic!(
                "{} failed on {} ({}):\n{log}\nINVERSE_FLOW_CUDA_ARCHS chooses other architectures, INVERSE_FLOW_CUDA=0 \
                 builds without kernels",
                nvcc.display(),
                source.display(),
                output.status
            )
        }
        Err(err) => panic!(
            "cannot run {}: {err}; set INVERSE_FLOW_NVCC, or INVERSE_FLOW_CUDA=0",
            nvcc.display()
        ),
    }
}

/// The text of every file under `kernels`, headers included.
fn kernel_sources() -> String {
    let mut files: Vec<_> = fs::read_dir("kernels")
        .expect("the crate has a folder `kernels`")
        .flatten()
        .collect();
    files.sort_by_key(|file| file.file_name());
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file.path()).ok())
        .collect()
}
