//! Compiles the C++ bridge (`src/ffi/*.cpp`) with the host compiler and the CUDA kernels (`kernels/*.cu`) with nvcc.
//!
//! Environment, every variable that changes the build:
//! - `LIBTORCH` (read by torch-sys): folder of libtorch 2.11.0; `.cargo/config.toml` points it at `.venv/libtorch`.
//! - `INVERSE_FLOW_CUDA=0`: build without kernels, for the CPU only.
//! - `INVERSE_FLOW_NVCC`: the nvcc to use; otherwise `.venv/cuda/bin/nvcc`, `$CUDA_HOME/bin/nvcc`, then `nvcc` on PATH.
//! - `INVERSE_FLOW_CUDA_ARCHS`: compute capabilities to compile for, e.g. `80,90`, or `all`; PTX is added for the last one.
//!   Unset, the file `.venv/cuda-archs` says it, which `scripts/train.sh` writes for the GPUs of the machine; without it, all.

#[path = "kernels/compile.rs"]
mod kernels;

use std::env;
use std::path::{Path, PathBuf};
use std::thread;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // docs.rs has neither libtorch nor nvcc, and reads the Rust alone
    if env::var_os("DOCS_RS").is_some() {
        return kernels::none();
    }
    let libtorch = libtorch();
    // both take a while, and neither needs the other
    thread::scope(|scope| {
        scope.spawn(kernels::build);
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
