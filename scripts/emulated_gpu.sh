#!/usr/bin/env bash
# Runs a command on the emulated GPU of the tests (tests/emulated_gpu): two CUDA devices on the host, without a driver, for
# the unmodified program and test programs.
#
#   scripts/emulated_gpu.sh COMMAND ARGS...
#   scripts/emulated_gpu.sh target/release/inverse-flow train --device cuda --max-steps 2 --out run
#   scripts/emulated_gpu.sh cargo test --release --test cuda
#   scripts/emulated_gpu.sh --sanitize address|undefined COMMAND ARGS...    kernels and driver under a sanitizer
#   scripts/emulated_gpu.sh --build                                         builds it, and prints its folders
#   scripts/emulated_gpu.sh --controls                                      what it must refuse and do, as seen from C++
#
# It is built by CXX (else c++) where its sources, the kernels or libtorch have changed, and kept in target/emulated-gpu.
# It is a test fixture: what it computes is what a GPU would, to rounding; its times mean nothing.
#
# Environment of the command:
#   EMULATED_GPU_REPORT=FILE  what was used, written when a process ends: {"launches", "kernels", "operators", "waits",
#                             "uploads", "downloads", "peak_bytes"}; %p in FILE stands for the process
#   EMULATED_GPU_ORDER=N      order of a block's threads: 0 ascending, 1 descending, else the seed of shuffles
#   EMULATED_GPU_RESIDENT=N   blocks that run in turns, 1 without it
#   EMULATED_GPU_TF32=0       convolutions and products keep all of their bits where libtorch allows TF32
#   EMULATED_GPU_VERBOSE=1    prints every launch and operator
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

sources=$root/tests/emulated_gpu
compiler=${CXX:-c++}
libtorch=${LIBTORCH:-$root/.venv/libtorch}
flags=(-std=c++17 -O2 -fPIC -Wall -Wextra -Werror -Wno-unknown-pragmas)
runtime= # of a sanitizer, to be loaded first

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit "$1"
}

# hash_of TEXT FILES...: of all that a build depends on.
hash_of() {
  local text=$1
  shift
  { printf '%s\n' "$text" && "$compiler" --version && cat "$@" "${BASH_SOURCE[0]}"; } | sha256sum | cut -c 1-16
}

# kernel_table FILE.cu: one line of C++ for every kernel in it, found in what the preprocessor makes of the file.
kernel_table() {
  local file=$1 text count table
  text=$("$compiler" -std=c++17 -E -P -x c++ -D'__global__=EMULATED_GPU_KERNEL' -D'__device__=' -D'__host__=' \
    -D'__forceinline__=inline' -D'__align__(bytes)=' -D'__grid_constant__=' -D'__shared__=' \
    -D'__launch_bounds__(threads,...)=EMULATED_GPU_BOUNDS threads EMULATED_GPU_END' "$file" | tr '\n' ' ' |
    sed 's/extern "C" EMULATED_GPU_KERNEL/\n&/g')
  count=$(grep -c '^extern "C" EMULATED_GPU_KERNEL' <<<"$text" || true)
  table=$(sed -n "s/^extern \"C\" EMULATED_GPU_KERNEL void EMULATED_GPU_BOUNDS \(.*\) EMULATED_GPU_END *\([A-Za-z0-9_]*\) *(.*/\
    entry(\"$(basename "$file" .cu)\", \"\2\", \1, \2),/p" <<<"$text")
  if [ "$count" = 0 ] || [ "$(wc -l <<<"$table")" != "$count" ]; then
    fail "$file: $count kernels, and not all of them read \`extern \"C\" __global__ void __launch_bounds__(threads) name(params)\`" \
      "write them so"
  fi
  printf '%s\n' "$table"
}

# The driver's half into folder $1. Here and below `set -e` does not hold, since the caller asks for the outcome.
build_driver() {
  local out=$1 file objects=()
  : >"$out/kernel_sources.inc"
  : >"$out/kernel_table.inc"
  for file in "$root"/kernels/*.cu; do
    printf '#include "%s"\n' "$file" >>"$out/kernel_sources.inc"
    kernel_table "$file" >>"$out/kernel_table.inc"
  done
  for file in "$sources"/driver/*.cpp; do
    "$compiler" "${flags[@]}" -fvisibility=hidden -I "$out" -c "$file" -o "$out/$(basename "$file" .cpp).o" ||
      return
    objects+=("$out/$(basename "$file" .cpp).o")
  done
  "$compiler" "${flags[@]}" -shared "${objects[@]}" -o "$out/libcuda.so.1" -ldl -Wl,-soname,libcuda.so.1 ||
    return
  rm "${objects[@]}"
  ln -s libcuda.so.1 "$out/libcuda.so"
  "$compiler" -x c -O2 -fPIC -Wall -Wextra -Werror -shared "$sources/preload.c" -o "$out/preload.so" -ldl
}

# libtorch's half into folder $1; the driver's is in $driver.
build_torch_half() {
  local out=$1
  (cd "$libtorch/include/ATen/ops" && printf '%s\n' *_cuda_dispatch.h) |
    sed 's/\(.*\)_cuda_dispatch\.h/"\1",/' >"$out/cuda_operators.inc"
  "$compiler" "${flags[@]}" -shared -I "$out" -isystem "$root/src/ffi" -isystem "$libtorch/include" \
    -isystem "$libtorch/include/torch/csrc/api/include" "$sources/libtorch/half.cpp" -o "$out/libtorch_cuda.so" \
    -L "$libtorch/lib" -ltorch_cpu -lc10 -L "$driver" -l:libcuda.so.1 -Wl,-soname,libtorch_cuda.so "-Wl,-rpath,$libtorch/lib"
}

# The controls into folder $1.
build_controls() {
  "$compiler" -std=c++17 -O0 -Wall -Wextra -I "$sources" -isystem "$libtorch/include" \
    -isystem "$libtorch/include/torch/csrc/api/include" "$sources/controls.cpp" -o "$1/controls" \
    -L "$libtorch/lib" -Wl,--no-as-needed -ltorch_cpu -lc10 -ldl "-Wl,-rpath,$libtorch/lib"
}

# kept NAME HASH FUNCTION: prints the folder that FUNCTION fills; at once if it was filled before. Several may do so.
kept() {
  local folder part
  folder=$(target_dir)/emulated-gpu/$1-$2
  if [ ! -e "$folder" ]; then
    note "building $1 of the emulated GPU"
    mkdir -p "$(dirname "$folder")"
    part=$(mktemp -d "$folder.XXXXXX")
    if ! "$3" "$part" >&2; then
      rm -rf "$part"
      fail "the emulated GPU was not built by $compiler" "set CXX to a C++17 compiler, and see its messages above"
    fi
    # another one may have been faster, and is used
    mv -T "$part" "$folder" 2>/dev/null || rm -rf "$part"
  fi
  printf '%s' "$folder"
}

build() {
  local torch driver_sources=("$sources"/driver/* "$sources/protocol.h" "$sources/preload.c" "$root"/tests/host_cuda/*)
  has "$compiler" || fail "no C++ compiler $compiler here" "$(install_hint g++ gcc-c++ g++)"
  torch=$(torch_version "$libtorch")
  [ -n "$torch" ] || fail "no libtorch in $libtorch" scripts/setup.sh
  driver=$(kept "driver$suffix" "$(hash_of "${flags[*]}" "${driver_sources[@]}" "$root"/kernels/*.cu*)" build_driver)
  # the half is the same whatever the driver's is built with
  half=$(kept libtorch "$(hash_of "$torch" "$sources"/libtorch/* "$sources/protocol.h")" build_torch_half)
}

suffix=
case ${1:-} in
-h | --help) usage 0 ;;
'') usage 2 >&2 ;;
--sanitize)
  case ${2:-} in
  address) runtime=$("$compiler" -print-file-name=libasan.so) ;;
  undefined) ;;
  *) usage 2 >&2 ;;
  esac
  suffix=-$2
  flags+=(-g -fno-omit-frame-pointer "-fsanitize=$2" -fno-sanitize-recover=all)
  shift 2
  ;;
esac
build
if [ "${1:-}" = --build ]; then
  printf '%s\n%s\n' "$driver" "$half"
  exit
fi
[ $# -gt 0 ] || usage 2 >&2
if [ "$1" = --controls ]; then
  controls=$(kept controls "$(hash_of "$(torch_version "$libtorch")" "$sources/controls.cpp" "$sources/protocol.h")" build_controls)
  set -- "$controls/controls"
fi

# before the run path of the program, which leads to the real half of libtorch
export LD_LIBRARY_PATH=$driver:$half${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# a sanitizer's runtime is where its compiler has it, and comes first
export LD_PRELOAD=${runtime:+$runtime:}$driver/preload.so${LD_PRELOAD:+:$LD_PRELOAD}
if [ -n "$runtime" ]; then
  # libtorch and Rust keep memory to the end; a kernel's fault ends the process
  export ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS:-}
fi
exec "$@"
