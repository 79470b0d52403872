//! Compiles the C++ bridge (`src/ffi/*.cpp`) with the host compiler and the CUDA kernels (`kernels/*.cu`) with nvcc.
//!
//! Environment, every variable that changes the build:
//! - `LIBTORCH` (read by torch-sys): folder of libtorch 2.11.0; `.cargo/config.toml` points it at `.venv/libtorch`.
//! - `INVERSE_FLOW_CUDA=0`: build without kernels, for the CPU only.
//! - `INVERSE_FLOW_NVCC`: the nvcc to use; otherwise `.venv/cuda/bin/nvcc`, `$CUDA_HOME/bin/nvcc`, then `nvcc` on PATH.
//! - `INVERSE_FLOW_CUDA_ARCHS`: compute capabilities to compile for, e.g. `80,90`, or `all`; PTX is added for the last one.
//!   Unset, the file `.venv/cuda-archs` says it, which `scripts/train.sh` writes for the GPUs of the machine; without it, all.
//! - `INVERSE_FLOW_NCCL`: folder with `include/nccl.h`, for groups of GPUs; otherwise the package `nvidia/nccl` beside that of
//!   torch, then `/usr`. Without these headers the program is built all the same, and says what is missing when it is asked.

#[path = "kernels/compile.rs"]
mod kernels;

use std::path::{Path, PathBuf};
use std::{env, fs, thread};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // docs.rs has neither libtorch nor nvcc, and reads the Rust alone
    if env::var_os("DOCS_RS").is_some() {
        no_nccl("this is documentation");
        return kernels::none();
    }
    let libtorch = libtorch();
    // all take a while, and none needs another
    thread::scope(|scope| {
        scope.spawn(kernels::build);
        scope.spawn(|| nccl(&libtorch));
        bridge(&libtorch);
    });
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
        "src/ffi/group.cpp",
        "src/ffi/runtime.cpp",
        "src/ffi/torchscript.cpp",
    ];
    for file in sources
        .into_iter()
        .chain(["src/ffi/bridge.h", "src/ffi/guard.h", "src/ffi/gloo"])
    {
        println!("cargo:rerun-if-changed={file}");
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .files(sources)
        // <gloo/...>, which torch's headers ask for and its packages leave out
        .include("src/ffi")
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

/// Builds the shim between the bridge and torch's groups of GPUs, `$OUT_DIR/nccl.so`.
fn nccl(lib: &Path) {
    println!("cargo:rerun-if-changed=src/ffi/nccl.cpp");
    if var("INVERSE_FLOW_CUDA").as_deref() == Some("0") {
        return no_nccl("it is for the CPU only");
    }
    match compile_nccl(lib) {
        Ok(()) => println!("cargo:rustc-env=INVERSE_FLOW_NCCL_MISSING="),
        Err(missing) => no_nccl(&missing),
    }
}

/// Leaves the reason in place of the shim.
fn no_nccl(missing: &str) {
    println!("cargo:rustc-env=INVERSE_FLOW_NCCL_MISSING={missing}");
    fs::write(out().join("nccl.so"), "").expect("OUT_DIR is writable");
}

fn out() -> PathBuf {
    PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"))
}

/// What the shim cannot be built without is the error.
fn compile_nccl(lib: &Path) -> Result<(), String> {
    let lib = lib.canonicalize().map_err(|err| err.to_string())?;
    if !lib.join("libtorch_cuda.so").exists() {
        return Err("its libtorch has no CUDA half".into());
    }
    let torch = lib.parent().expect("libtorch/lib has a parent");
    // the packages that pip installs with torch
    let packages = torch.parent().unwrap_or(torch).join("nvidia");
    let nccl = folder_with(
        "include/nccl.h",
        [
            var("INVERSE_FLOW_NCCL").map(PathBuf::from),
            Some(packages.join("nccl")),
            Some("/usr".into()),
        ],
    )?;
    let cuda = folder_with(
        "include/cuda_runtime_api.h",
        [
            Some(packages.join("cu13")),
            var("CUDA_HOME").map(PathBuf::from),
            Some("/usr/local/cuda".into()),
        ],
    )?;
    let include = torch.join("include");
    let api = include.join("torch/csrc/api/include");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).pic(true);
    let mut command = build.get_compiler().to_command();
    command
        .args([
            "-shared",
            "-fvisibility=hidden",
            "-s",
            "src/ffi/nccl.cpp",
            "-o",
        ])
        .arg(out().join("nccl.so"));
    for folder in [include, api, nccl.join("include"), cuda.join("include")] {
        // the compiler looks there by itself, in its own order
        if folder != Path::new("/usr/include") {
            command.arg("-isystem").arg(folder);
        }
    }
    // linked, so that the build fails where libtorch's CUDA half lacks a symbol; nothing is loaded before the shim is
    command.arg("-L").arg(&lib).args([
        "-l:libtorch_cuda.so",
        "-ltorch_cpu",
        "-lc10",
        "-Wl,-z,defs",
    ]);
    let done = command.output().map_err(|err| err.to_string())?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() {
        return Ok(());
    }
    let error = said
        .lines()
        .find(|line| line.contains("error"))
        .or(said.lines().next());
    let missing = format!(
        "{} does not compile: {}",
        "src/ffi/nccl.cpp",
        error.unwrap_or("no message")
    );
    println!("cargo:warning=no exchange between GPUs: {missing}");
    Err(missing)
}

/// The first of `folders` that holds `file`.
fn folder_with<const N: usize>(
    file: &str,
    folders: [Option<PathBuf>; N],
) -> Result<PathBuf, String> {
    let folders: Vec<_> = folders.into_iter().flatten().collect();
    let found = folders.iter().find(|folder| folder.join(file).is_file());
    found.cloned().ok_or_else(|| {
        let looked: Vec<_> = folders
            .iter()
            .map(|folder| folder.join(file).display().to_string())
            .collect();
        format!("there is no {}", looked.join(", no "))
    })
}
