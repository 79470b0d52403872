#!/usr/bin/env bash
# Prints what each CUDA kernel of the build takes: registers of a thread, shared and constant memory, stack, spills, as
# ptxas said when it made the code. Fails where a kernel spills or has a stack, and where docs/performance-gpu.md shows
# other numbers. Builds the program where it is not current; needs nvcc, no GPU.
#
#   scripts/kernel_resources.sh [sm_90 ...]     one table for each architecture
#   scripts/kernel_resources.sh --all           all that the build has; what is wrong alone is printed
#
# Ends with 77 where the build has no kernels.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

all=
if [ "${1:-}" = --all ]; then
  [ $# -eq 1 ] || fail "--all stands alone" "scripts/kernel_resources.sh --all"
  all=1
  archs=()
else
  archs=("${@:-sm_90}")
fi
for arch in ${archs[@]+"${archs[@]}"}; do
  case $arch in
  sm_[0-9]*) ;;
  *) fail "$arch is no architecture" "scripts/kernel_resources.sh sm_90" ;;
  esac
done
page=$root/docs/performance-gpu.md
cd "$root"

# build_table: where the build has noted what its kernels take. Cargo names the folder of the very build that is current.
build_table() {
  local folder
  folder=$(cargo build --release --message-format=json |
    sed -n 's/^{"reason":"build-script-executed".*[/#]inverse-flow[@#].*"out_dir":"\([^"]*\)".*/\1/p') || return 1
  [ -r "$folder/resources.tsv" ] || return 1
  printf '%s' "$folder/resources.tsv"
}
table=$(build_table) || fail "there is no build to look at" "see what 'cargo build --release' says"
[ -s "$table" ] || {
  note "this build has no kernels"
  exit 77
}

built=$(awk -F '\t' 'NF > 1 && !seen[$1]++ { print $1 }' "$table")
[ -z "$all" ] || mapfile -t archs <<<"$built"
for arch in "${archs[@]}"; do
  grep -qx "$arch" <<<"$built" ||
    fail "this build has no $arch, but ${built//$'\n'/, }" "INVERSE_FLOW_CUDA_ARCHS=${arch#sm_} scripts/kernel_resources.sh $arch"
done
nvcc=$(sed -n '1s/.*release \([0-9.]*\),.*/\1/p' "$table")

# print_table ARCH: as it stands in docs/performance-gpu.md.
print_table() {
  awk -F '\t' -v arch="$1" -v nvcc="$nvcc" '
    BEGIN {
      printf "%s, nvcc %s\n", arch, nvcc
      printf "%9s %9s %9s %7s %13s %12s  %s\n", "registers", "shared B", "const B", "stack B", "spill store B", "spill load B", "kernel"
    }
    $1 == arch { printf "%9s %9s %9s %7s %13s %12s  %s\n", $2, $3, $4, $5, $6, $7, $9; kernels++; spills += $6 + $7 }
    END { printf "%d kernel%s, %d bytes of spills\n", kernels, kernels == 1 ? "" : "s", spills }' "$table"
}

wrong=0
for arch in "${archs[@]}"; do
  if [ -z "$all" ]; then
    print_table "$arch"
  fi
  awk -F '\t' -v arch="$arch" -v all="$all" '
    $1 == arch {
      kernels++
      if ($2 > most) most = $2
      if ($5 + $6 + $7 > 0) {
        printf "%s: %s has %d bytes of stack, %d and %d of spills\n", arch, $9, $5, $6, $7
        wrong = 1
      }
    }
    END {
      if (all) printf "%s: %d kernel%s, %d registers at most\n", arch, kernels, kernels == 1 ? "" : "s", most
      exit wrong
    }' "$table" || wrong=1
done
[ "$wrong" = 0 ] ||
  fail "kernels keep registers or arrays in local memory" \
    "keep fewer values alive, unroll less, or bound threads and blocks by __launch_bounds__ where the kernels are defined"

# the page has the table of one architecture, by one release of nvcc: others give other numbers
shown=$(sed -n '/^sm_[0-9]*, nvcc /,/^[0-9]* kernels*, /p' "$page" 2>/dev/null || true)
arch=${shown%%,*}
if [ "${shown%%$'\n'*}" = "$arch, nvcc $nvcc" ] && grep -qx "$arch" <<<"$built" &&
  [ "$(print_table "$arch")" != "$shown" ]; then
  ! has diff || print_table "$arch" | diff <(printf '%s\n' "$shown") - >&2 || true
  fail "docs/performance-gpu.md (<) shows other numbers than this build has (>)" "put the table of 'scripts/kernel_resources.sh $arch' there"
fi
