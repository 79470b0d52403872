#!/usr/bin/env bash
# Sets the machine up, builds the release profile and trains. The first command for a fresh checkout.
#
#   scripts/train.sh                      Inverse-Flow on the built-in glyphs; minutes on two CPU cores
#   scripts/train.sh --preset P --out RUN whatever `inverse-flow train` understands is passed on
#   scripts/train.sh --help               the help of `inverse-flow train`
#
# The first build compiles the CUDA kernels for the GPUs of this machine only, or for one architecture whose PTX every GPU
# runs; INVERSE_FLOW_CUDA_ARCHS chooses others.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

phases=3 phase=0 started=$SECONDS

# begin WHAT: says which phase begins, and how long after the start.
begin() {
  phase=$((phase + 1))
  printf '[%d/%d] %s (after %d s)\n' "$phase" "$phases" "$1" "$((SECONDS - started))" >&2
}

begin "set-up in .venv: libtorch and nvcc; a first time takes 1 to 3 minutes with a fast network"
"$root/scripts/setup.sh" --build-ahead
choose_archs present
kernels="and its CUDA kernels for $(chosen_archs)"
wants_cuda || kernels="without CUDA kernels"
begin "compiling the program $kernels; a first time takes 2 to 5 minutes on two cores"
(cd "$root" && cargo build --release)
program=$(target_dir)/release/inverse-flow

# value_of FLAG ARGS...: the value given to a flag, as `--flag value` or `--flag=value`.
value_of() {
  local flag=$1
  shift
  while [ $# -gt 0 ]; do
    case $1 in
    "$flag")
      printf '%s' "${2:-}"
      return
      ;;
    "$flag="*)
      printf '%s' "${1#*=}"
      return
      ;;
    esac
    shift
  done
  return 1
}

for arg in "$@"; do
  case $arg in
  -h | --help) exec "$program" train --help ;;
  esac
done

args=("$@")
if run=$(value_of --resume "$@"); then
  :
else
  if ! preset=$(value_of --preset "$@") && ! preset=$(value_of --config "$@"); then
    preset=quick/$(value_of --model "$@" || echo inverse-flow)
    args=(--preset "$preset" ${args[@]+"${args[@]}"})
  fi
  if ! run=$(value_of --out "$@"); then
    # runs/quick-inverse-flow, then runs/quick-inverse-flow-2, ...: a finished run is never overwritten
    name=$(basename "${preset//\//-}" .json)
    run=$root/runs/$name
    for ((n = 2; ; n++)); do
      [ -e "$run" ] || break
      run=$root/runs/$name-$n
    done
    args+=(--out "$run")
  fi
fi

begin "training; pictures appear in $run/samples after every epoch"
"$program" train "${args[@]}"

# exactly what there is to look at, newest samples last
samples=$(find "$run/samples" -name '*.png' 2>/dev/null | sort | tail -n 1)
printf '\n'
[ -z "$samples" ] || printf 'samples:  %s\n' "$samples"
[ ! -e "$run/curves.png" ] || printf 'curves:   %s\n' "$run/curves.png"
printf 'more:     %s sample %s --count 64 --out samples.png\n' "$program" "$run"
