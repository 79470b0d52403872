#!/usr/bin/env bash
# Compiles kernels/*.cu and prints what each kernel takes: registers a thread, static shared and constant
# memory, stack, spills. Fails where a kernel spills. Needs nvcc, no GPU.
#
#   scripts/kernel_resources.sh [sm_90 ...]     one table for each architecture
#   scripts/kernel_resources.sh --all           all that the build has; spills alone are printed
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tables=1
if [ "${1:-}" = --all ]; then
  [ $# -eq 1 ] || fail "--all stands alone" "scripts/kernel_resources.sh --all"
  tables=0
  IFS=, read -r -a archs <<<"$CUDA_ARCHS"
  archs=("${archs[@]/#/sm_}")
else
  archs=("${@:-sm_90}")
fi
for arch in "${archs[@]}"; do
  case $arch in
  sm_[0-9]*) ;;
  *) fail "$arch is no architecture" "scripts/kernel_resources.sh sm_90" ;;
  esac
done
compgen -G "$root/kernels/*.cu" >/dev/null || fail "$root/kernels holds no .cu file" "run it in a whole checkout"

nvcc=
for candidate in "${INVERSE_FLOW_NVCC:-}" "$root/.venv/cuda/bin/nvcc" "${CUDA_HOME:+$CUDA_HOME/bin/nvcc}" nvcc; do
  if [ -n "$candidate" ] && has "$candidate"; then
    nvcc=$candidate
    break
  fi
done
[ -n "$nvcc" ] || fail "nvcc is not found" "scripts/setup.sh"

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# rows ARCH: one line a kernel: registers, shared, constant, stack, spill stores, spill loads, name.
rows() {
  awk '
    function number_before(unit,    words) {
      if (!match($0, "[0-9]+ " unit)) return 0
      split(substr($0, RSTART, RLENGTH), words, " ")
      return words[1]
    }
    /Compiling entry function/ { split($0, quoted, "\047"); name = quoted[2]; stack = stores = loads = 0 }
    /bytes stack frame/ {
      stack = number_before("bytes stack frame")
      stores = number_before("bytes spill stores")
      loads = number_before("bytes spill loads")
    }
    /Used [0-9]+ registers/ && name != "" {
      printf "%d\t%d\t%d\t%d\t%d\t%d\t%s\n", number_before("registers"), number_before("bytes smem"),
        number_before("bytes cmem"), stack, stores, loads, name
      name = ""
    }' "$out/$1.log" | sort -k7
}

spilling=0
for arch in "${archs[@]}"; do
  for source in "$root"/kernels/*.cu; do
    "$nvcc" -cubin -arch="$arch" -std=c++17 -O3 -Xptxas -v -o "$out/kernel.cubin" "$source" 2>>"$out/$arch.log" || {
      cat "$out/$arch.log" >&2
      fail "$nvcc does not compile $source" "mend the source, or choose an architecture this nvcc knows"
    }
  done
  printf '%s, nvcc %s\n' "$arch" "$(nvcc_version "$nvcc")"
  rows "$arch" | awk -F '\t' -v tables="$tables" '
    BEGIN { if (tables) printf "%9s %9s %9s %7s %12s %12s  %s\n", "registers", "shared B", "const B", "stack B", "spill store B", "spill load B", "kernel" }
    tables || $5 + $6 > 0 { printf "%9s %9s %9s %7s %13s %12s  %s\n", $1, $2, $3, $4, $5, $6, $7 }
    { spills += $5 + $6; kernels++ }
    END { printf "%d kernels, %d bytes of spills\n", kernels, spills }'
  spilling=$((spilling + $(rows "$arch" | awk -F '\t' '$5 + $6 > 0' | wc -l)))
done
[ "$spilling" -eq 0 ] ||
  fail "$spilling kernels spill registers" "lower __launch_bounds__ or unroll less where they are defined"
