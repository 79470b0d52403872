#!/usr/bin/env bash
# Makes a wheel of the Python package, with the operator library of this checkout inside: builds the library, then packs it.
#
#   scripts/wheel.sh [--out DIR]     DIR is target/wheels by default; the last line printed is the wheel's path
#
# The kernels in it are for the GPU architectures that this build compiles for: INVERSE_FLOW_CUDA_ARCHS=all has all of them,
# INVERSE_FLOW_CUDA=0 none. docs/python.md says how the wheel is installed and where it runs.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

out=$(target_dir)/wheels
while [ $# -gt 0 ]; do
  case $1 in
  -h | --help)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  --out)
    [ -n "${2:-}" ] || fail "--out names no folder" "scripts/wheel.sh --out DIR"
    out=$2
    shift
    ;;
  --out=?*) out=${1#--out=} ;;
  *) fail "$1 is no argument" "scripts/wheel.sh [--out DIR]" ;;
  esac
  shift
done
mkdir -p "$out" || fail "$out cannot be made" "name another folder with --out"
out=$(cd "$out" && pwd)
cd "$root"

scripts/setup.sh
cargo build --release
python=$root/.venv/bin/python
[ -x "$python" ] || python=python3 # with a libtorch of the user's own there is no .venv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work" python/ >&2 ||
  fail "the wheel could not be built" "read the lines above; pip 21.3 or newer is needed ($python -m pip --version)"
wheel=$(basename "$work"/*.whl)
mv -f "$work/$wheel" "$out/"
kernels=none
if wants_cuda; then kernels=$(chosen_archs); fi
note "$(du -k --apparent-size "$out/$wheel" | awk '{printf "%.1f", $1 / 1024}') MB, for torch $TORCH_VERSION, kernels: $kernels"
printf '%s\n' "$out/$wheel"
