#!/usr/bin/env bash
# Checks and measures the program on a machine with an NVIDIA GPU: doctor, the tests called cuda_*
# (parity with the CPU, central differences, repeatability), the bench of the operators and of the
# models, a short training, compute-sanitizer over the small shapes. Runs from a bundle
# (scripts/gpu_bundle.sh) without cargo.
#
#   scripts/gpu_check.sh [OUT]    collects everything in OUT (gpu-check by default); summary.json sums it up
#
# The whole takes nine minutes at most (LIMIT_S sets another limit, in seconds): every step has a limit
# of its own, what comes first matters most, and what finds no time left counts as failed. bench-op.jsonl and bench-model.jsonl hold the measurements, one object a line.
# Needs the NVIDIA driver and a python3 that imports torch of the right version; PYTHON names another.
# compute-sanitizer and ncu are used where they are found.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

case ${1:-} in
-h | --help)
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
out=${1:-gpu-check}
program=bin/inverse-flow
[ -x "$program" ] ||
  fail "$root holds no $program, so it is no bundle" "make one with scripts/gpu_bundle.sh and run gpu-bundle/scripts/gpu_check.sh"

compgen -G '/dev/nvidia[0-9]*' >/dev/null || compgen -G '/dev/dxg' >/dev/null ||
  fail "this machine has no NVIDIA GPU (no /dev/nvidia0)" "run it on one that has; in a container, start it with --gpus all"
has nvidia-smi || fail "nvidia-smi is not found, so there is no NVIDIA driver" "install the driver, 580 or newer"
card=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1) && [ -n "$card" ] ||
  fail "nvidia-smi does not see a GPU" "see what nvidia-smi says; reboot after a driver update"
driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)
version_ge "$driver" 580 || fail "the driver is $driver, and CUDA $CUDA_VERSION needs 580 or newer" "update the NVIDIA driver"

python=
for candidate in ${PYTHON:-} .venv/bin/python python3 python; do
  if "$candidate" -c 'import torch' >/dev/null 2>&1; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || fail "no python3 here imports torch" "python3 -m pip install torch==$TORCH_VERSION"
torch=$("$python" -c 'import torch; print(torch.__version__)')
[ "${torch%%+*}" = "$TORCH_VERSION" ] ||
  fail "torch is $torch, and $TORCH_VERSION is needed" "$python -m pip install torch==$TORCH_VERSION"
torch_lib=$("$python" -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))')
export LD_LIBRARY_PATH=$torch_lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LIBTORCH=${torch_lib%/lib}
# the tests run on the GPU, and fail where it is not found
export INVERSE_FLOW_TEST_DEVICE=cuda

deadline=$((SECONDS + ${LIMIT_S:-540}))
mkdir -p "$out"
: >"$out/results.tsv"
failures=0

# check NAME SECONDS LOG COMMAND...: runs it for that long at most, keeps its output, notes its result.
check() {
  local name=$1 limit=$2 log=$out/$3 start=$SECONDS result=ok
  local left=$((deadline - SECONDS))
  shift 3
  if [ "$left" -lt 5 ]; then
    skip "$name" "no time left"
    failures=$((failures + 1))
    return
  fi
  [ "$limit" -le "$left" ] || limit=$left
  timeout --kill-after=5 "$limit" "$@" >"$log" 2>"$log.err" || result=failed
  # standard output alone where it is data, the rest after it everywhere else
  case $log in
  *.json | *.jsonl | *.csv) [ -s "$log.err" ] || rm -f "$log.err" ;;
  *) cat "$log.err" >>"$log" && rm -f "$log.err" ;;
  esac
  [ "$result" = ok ] || failures=$((failures + 1))
  printf '%s\t%s\t%s\t%d\n' "$name" "$result" "$(basename "$log")" $((SECONDS - start)) >>"$out/results.tsv"
  printf '%-28s %-7s %4d s\n' "$name" "$result" $((SECONDS - start))
  [ "$result" = ok ] || cat "$log" "$log.err" 2>/dev/null | tail -n 15
}

skip() {
  printf '%s\tskipped: %s\t\t0\n' "$1" "$2" >>"$out/results.tsv"
  printf '%-28s skipped: %s\n' "$1" "$2"
}

check doctor 30 doctor.json "$program" doctor --json

for test in tests/*; do
  [ -f "$test" ] && [ -x "$test" ] || continue
  check "$(basename "$test")" 100 "test-$(basename "$test").log" "$test" cuda_ --test-threads=1
done

check bench-op 100 bench-op.jsonl "$program" bench op --device cuda --json
check bench-model 60 bench-model.jsonl "$program" bench model --device cuda --rebuild --json

check train 40 train.log "$program" train --preset quick/inverse-flow --data glyphs --device cuda \
  --max-steps 50 --seed 1 --overwrite --out "$out/run"
check eval 20 eval.json "$program" eval "$out/run" --device cuda --limit 500 --roundtrip --json

if compgen -G 'checks/python/test_*.py' >/dev/null; then
  export INVERSE_FLOW_LIBRARY=$root/bin/libinverse_flow.so
  check python 100 python.log "$python" -m unittest discover --start-directory checks/python --verbose
fi

# the sanitizer slows kernels down a hundredfold, so only the small shapes run under it
parity=tests/cuda
[ -x "$parity" ] || parity=
sanitizer=$(command -v compute-sanitizer || compgen -G '/usr/local/cuda*/bin/compute-sanitizer' | head -n 1 || true)
for tool in memcheck racecheck; do
  if [ -z "$parity" ]; then
    skip "$tool" "the bundle has no GPU tests"
  elif [ -z "$sanitizer" ]; then
    skip "$tool" "compute-sanitizer is not found"
  else
    check "$tool" 60 "$tool.log" "$sanitizer" --tool "$tool" --error-exitcode 9 \
      "$parity" cuda_small_shapes --test-threads=1
  fi
done

ncu=$(command -v ncu || true)
if [ -n "$ncu" ] && [ -n "$parity" ]; then
  check ncu 40 ncu.csv "$ncu" --csv --launch-count 20 --set basic "$parity" cuda_small_shapes --test-threads=1
else
  skip ncu "ncu or a GPU test is not found"
fi

"$python" - "$out" "$card" "$driver" "$torch" "$(cat commit 2>/dev/null || echo unknown)" <<'PY'
import json
import pathlib
import sys

out, card, driver, torch, commit = pathlib.Path(sys.argv[1]), *sys.argv[2:]
rows = [line.split("\t") for line in (out / "results.tsv").read_text().splitlines()]
checks = [{"name": n, "result": r, "log": log or None, "seconds": int(s)} for n, r, log, s in rows]
summary = {"card": card, "driver": driver, "torch": torch, "commit": commit, "checks": checks}
(out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
PY
rm "$out/results.tsv"
printf '%s, driver %s: %d failed; all results in %s\n' "$card" "$driver" "$failures" "$out"
[ "$failures" -eq 0 ]
