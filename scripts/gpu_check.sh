#!/usr/bin/env bash
# Checks and measures the program on a machine with an NVIDIA GPU, from a bundle (scripts/gpu_bundle.sh), without cargo. In
# this order, so that a call that is cut short has done what matters most:
#
#   doctor; the operators and the spline against the CPU; a training step of every family against the CPU; memcheck and
#   racecheck over both; bench op; bench model; ncu of the solve; then the tests of operators, layers, models and training
#   on the GPU, a short training with its evaluation, the Python package
#
#   scripts/gpu_check.sh [OUT]    OUT is gpu-check by default
#
# OUT gets at most six files: summary.txt (failed parts first in its first line, then a line a part, then the ends of the
# logs of what failed), summary.json, bench-op.jsonl and bench-model.jsonl (an object a line), logs.tar.gz (a log a part) and,
# while a part runs, running.log. They are written after every part, so that nothing is lost with one that hangs or is ended.
#
# The whole takes nine minutes at most after doctor (LIMIT_S sets another limit, in seconds). Every part has a limit of its
# own; what finds no time left counts as failed. Needs the NVIDIA driver and a python3 with torch of the right version;
# PYTHON names another. compute-sanitizer and ncu are used where they are found. On an emulated GPU (scripts/emulated_gpu.sh)
# the parts are the same, but for these two and the Python package, and shapes and benches are small.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
-h | --help)
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
out=${1:-gpu-check}
[[ $out = /* ]] || out=$PWD/$out
cd "$root"
program=bin/inverse-flow
[ -x "$program" ] ||
  fail "$root holds no $program, so it is no bundle" "make one with scripts/gpu_bundle.sh and run gpu-bundle/scripts/gpu_check.sh"

python='' torch_dir=''
find_torch='import importlib.util; print(importlib.util.find_spec("torch").submodule_search_locations[0])'
# the bundle may lie in a checkout; torch is looked for, not imported, which takes seconds
for candidate in ${PYTHON:-} .venv/bin/python ../.venv/bin/python python3 python; do
  if torch_dir=$("$candidate" -c "$find_torch" 2>/dev/null); then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || fail "no python3 here has torch" "python3 -m pip install torch==$TORCH_VERSION"
torch=$(torch_version "$torch_dir")
[ "${torch%%+*}" = "$TORCH_VERSION" ] ||
  fail "torch is $torch, and $TORCH_VERSION is needed" "$python -m pip install torch==$TORCH_VERSION"
# last, so that an emulated GPU stays in front of the real one's libraries
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$torch_dir/lib
export LIBTORCH=$torch_dir
# a GPU that is not there is a failure of the tests
export INVERSE_FLOW_TEST_DEVICE=cuda

deadline=$((SECONDS + 30))
mkdir -p "$out"
rm -f "$out"/{summary.txt,summary.json,bench-op.jsonl,bench-model.jsonl,logs.tar.gz,running.log}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/logs"
: >"$work/results.tsv"
commit=$(cat commit 2>/dev/null || echo unknown)
card=unknown

# write_results [RUNNING]: everything so far; RUNNING is the part that goes on.
write_results() {
  "$python" - "$out" "$work" "$card" "$torch" "$commit" "${1:-}" <<'PY'
import json
import os
import pathlib
import sys
import tarfile

out, work = map(pathlib.Path, sys.argv[1:3])
card, torch, commit, running = sys.argv[3:]
rows = [line.split("\t") for line in (work / "results.tsv").read_text().splitlines()]
parts = [{"name": n, "result": r, "seconds": int(s), "why": why or None} for n, r, s, why in rows]
if running:
    parts.append({"name": running, "result": "running", "seconds": 0, "why": "see running.log"})
count = {kind: sum(part["result"] == kind for part in parts) for kind in ("passed", "failed", "skipped", "running")}
verdict = "FAILED" if count["failed"] else "RUNNING" if running else "OK"
numbers = ", ".join(f"{count[kind]} {kind}" for kind in ("failed", "passed", "skipped"))
lines = [f"{verdict}: {numbers}; {card}, torch {torch}, commit {commit}"]
for part in parts:
    line = f"{part['result']:8} {part['name']:18} {part['seconds']:4} s  {part['why'] or ''}"
    lines.append(line.rstrip())
for part in parts:
    log = work / "logs" / f"{part['name']}.log"
    if part["result"] == "failed" and log.exists():
        lines += ["", f"== {part['name']}: the end of its log =="]
        lines += log.read_text(errors="replace").splitlines()[-15:]


def write(name, content):
    # whole or not at all
    part = out / f".{name}"
    part.write_bytes(content)
    os.replace(part, out / name)


summary = {"card": card, "torch": torch, "commit": commit, **count, "parts": parts}
write("summary.txt", ("\n".join(lines) + "\n").encode())
write("summary.json", (json.dumps(summary, indent=2) + "\n").encode())
with tarfile.open(work / "logs.tar.gz", "w:gz") as archive:
    archive.add(work / "logs", "logs")
write("logs.tar.gz", (work / "logs.tar.gz").read_bytes())
PY
}

# note_result NAME RESULT SECONDS WHY
note_result() {
  printf '%s\t%s\t%d\t%s\n' "$1" "$2" "$3" "$4" >>"$work/results.tsv"
  printf '%-8s %-18s %4d s  %s\n' "$2" "$1" "$3" "$4"
}

skip() { note_result "$1" skipped 0 "$2"; }

child=
stop() {
  [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true
  stopped=1
}
stopped=
trap stop TERM INT HUP

# part NAME SECONDS COMMAND...: runs it for that long at most. What it prints is the part's log; standard output goes to the
# file $output instead where that is set.
part() {
  local name=$1 limit=$2 start=$SECONDS code=0 why='' result=passed
  local left=$((deadline - SECONDS))
  shift 2
  if [ "$left" -lt 1 ]; then
    note_result "$name" failed 0 "no time left"
    return
  fi
  [ "$limit" -le "$left" ] || limit=$left
  write_results "$name"
  if [ -n "${output:-}" ]; then
    timeout --kill-after=5 "$limit" "$@" >"$output" 2>"$out/running.log" &
  else
    timeout --kill-after=5 "$limit" "$@" >"$out/running.log" 2>&1 &
  fi
  child=$!
  [ -z "$stopped" ] || stop
  wait "$child" || code=$?
  # a signal to this script ends the wait before the part has ended
  [ -z "$stopped" ] || wait "$child" 2>/dev/null || true
  child=
  if [ -n "$stopped" ]; then
    result=failed why="stopped by a signal"
  elif [ "$code" = 124 ] || [ "$code" = 137 ]; then
    result=failed why="no end after $limit s"
  elif [ "$code" != 0 ]; then
    result=failed why="exit status $code"
  elif grep -q '^test result: ok\. 0 passed' "$out/running.log"; then
    result=failed why="no test ran"
  fi
  mv "$out/running.log" "$work/logs/$name.log"
  note_result "$name" "$result" $((SECONDS - start)) "$why"
  write_results
  [ -z "$stopped" ] || exit 143
}

# tests NAME SECONDS PROGRAM ARGUMENTS...: a test program, one test at a time.
tests() {
  local name=$1 limit=$2 test_program=tests/$3
  shift 3
  if [ -x "$test_program" ]; then
    part "$name" "$limit" "$test_program" "$@" --test-threads=1
  else
    skip "$name" "the bundle has no $test_program"
  fi
}

# found PROGRAM: where a tool of the toolkit is.
found() {
  command -v "$1" || compgen -G "/usr/local/cuda*/bin/$1" | head -n 1 ||
    compgen -G "/opt/nvidia/nsight-compute/*/$1" | head -n 1
}

output=$work/doctor.json part doctor 30 "$program" doctor --json
cp "$work/doctor.json" "$work/logs/"
# finding NAME KEY: what doctor says.
finding() {
  "$python" - "$work/doctor.json" "$1" "$2" <<'PY'
import json
import sys

path, name, key = sys.argv[1:]
try:
    findings = json.load(open(path))["findings"]
except ValueError:
    findings = []
print(next((f[key] or "" for f in findings if f["name"] == name), ""))
PY
}
card=$(finding GPUs found)
if [ -z "$card" ] || [ "$card" = none ]; then
  driver=$(finding 'NVIDIA driver' found)
  fix=$(finding 'NVIDIA driver' fix)
  card=unknown
  write_results
  fail "no GPU here: ${driver:-doctor does not say why}" "${fix:-see what '$root/$program doctor' says}; in a container, start it with --gpus all"
fi
emulated=
! grep -qi emulated "$work/doctor.json" || emulated=1

deadline=$((SECONDS + ${LIMIT_S:-540}))
# the large shapes take long on an emulated GPU
few=
[ -z "$emulated" ] || few=small_shapes
tests operators 90 cuda "cuda_$few"
tests spline 60 ops spline --skip cpu_
part steps 150 "$python" scripts/compare_devices.py "$program" cuda

# Kernels run a hundred times slower under the sanitizer, so only the small shapes run, and only our own kernels are looked
# at. Without torch's cache every tensor is memory of its own, beyond whose end nothing may be touched.
sanitizer=$(found compute-sanitizer || true)
# sanitize TOOL PART SECONDS PROGRAM TESTS KERNELS
sanitize() {
  local tool=$1 name=$2
  if [ -n "$emulated" ]; then
    skip "$name" "compute-sanitizer needs a real GPU"
  elif [ -z "$sanitizer" ]; then
    skip "$name" "compute-sanitizer is not found"
  elif [ ! -x "tests/$4" ]; then
    skip "$name" "the bundle has no tests/$4"
  else
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 part "$name" "$3" "$sanitizer" --tool "$tool" --kernel-name "kns=$6" --error-exitcode 9 \
      "tests/$4" "$5" --test-threads=1
  fi
}
for tool in memcheck racecheck; do
  sanitize "$tool" "$tool" 120 cuda cuda_small_shapes inv_conv
  sanitize "$tool" "$tool-spline" 60 ops cuda_spline spline
done

shapes=() presets=(--rebuild)
if [ -n "$emulated" ]; then
  shapes=(--shape 3,4,5,6,3)
  presets=(--preset quick/inverse-flow --batch 2 --samples 1)
fi
output=$out/bench-op.jsonl part bench-op 90 "$program" bench op --device cuda --json ${shapes[@]+"${shapes[@]}"}
output=$out/bench-model.jsonl part bench-model 60 "$program" bench model --device cuda --json "${presets[@]}"

ncu=$(found ncu || true)
if [ -n "$emulated" ]; then
  skip ncu "ncu needs a real GPU"
elif [ -z "$ncu" ]; then
  skip ncu "ncu is not found"
else
  # clocks stay as they are: others may use the GPU
  part ncu 60 "$ncu" --clock-control none --kernel-name regex:inv_conv_solve --launch-count 4 --set full --csv \
    "$program" bench op --device cuda --shape 100,12,16,16,3
fi

tests ops 60 ops --skip cpu_ --skip spline
tests flows 60 flows --skip cpu_
tests models 60 models --skip cpu_
# the names of variables are looked up in the checkout
tests train 60 train --skip cpu_ --skip variable_names
part training 40 "$program" train --preset quick/inverse-flow --data glyphs --device cuda \
  --max-steps 50 --seed 1 --overwrite --out "$work/run"
part eval 20 "$program" eval "$work/run" --device cuda --limit 500 --roundtrip --json
if [ -n "$emulated" ]; then
  skip python "PyTorch needs a real GPU"
elif compgen -G 'checks/python/test_*.py' >/dev/null; then
  PYTHONPATH=$root/python INVERSE_FLOW_LIBRARY=$root/bin/libinverse_flow.so part python 100 \
    "$python" -m unittest discover --start-directory checks/python --verbose
else
  skip python "the bundle has no checks/python"
fi

write_results
head -n 1 "$out/summary.txt"
printf 'all results are in %s\n' "$out"
! cut -f2 "$work/results.tsv" | grep -qx failed
