#!/usr/bin/env bash
# Runs the numerical tests as machines with other instruction sets and numbers of threads would.
#
#   scripts/test_other_machines.sh             all of them
#   scripts/test_other_machines.sh NAME...     some of: avx2 sse4 one-thread three-threads
#
# avx2, sse4: libtorch, MKL, oneDNN and the kernels of this project use nothing newer. Tests that a setting breaks rest on
# equal bits where only equality up to rounding is promised: docs/reproducibility.md.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

declare -A settings=(
  [avx2]="MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 INVERSE_FLOW_SIMD=avx2"
  [sse4]="MKL_ENABLE_INSTRUCTIONS=SSE4_2 ONEDNN_MAX_CPU_ISA=SSE41 ATEN_CPU_CAPABILITY=default INVERSE_FLOW_SIMD=baseline"
  [one-thread]="OMP_NUM_THREADS=1"
  [three-threads]="OMP_NUM_THREADS=3"
)
names=(avx2 sse4 one-thread three-threads)
case ${1:-} in
-h | --help)
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
[ $# -eq 0 ] || names=("$@")
for name in "${names[@]}"; do
  if [ -z "${settings[$name]:-}" ]; then
    printf 'test_other_machines.sh: no machine is called %s: use some of avx2 sse4 one-thread three-threads\n' "$name" >&2
    exit 2
  fi
done

scripts/setup.sh

programs=(--test ops --test flows --test models --test train --test program)
# the longest tests of these programs rest on no arithmetic
filter=(--skip reproduce --skip doctor --skip plot)
cargo test --release --no-run "${programs[@]}"

failed=()
for name in "${names[@]}"; do
  printf '\n== %s: %s ==\n' "$name" "${settings[$name]}"
  SECONDS=0
  # shellcheck disable=SC2086 # a list of assignments
  if env ${settings[$name]} cargo test --release --no-fail-fast "${programs[@]}" -- "${filter[@]}"; then
    printf '%s: passed in %d s\n' "$name" "$SECONDS"
  else
    failed+=("$name")
  fi
done
if [ ${#failed[@]} -gt 0 ]; then
  printf '\ntest_other_machines.sh: FAILED: %s\n' "${failed[*]}" >&2
  exit 1
fi
printf '\ntest_other_machines.sh: ok: %s\n' "${names[*]}"
