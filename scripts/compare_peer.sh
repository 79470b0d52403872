#!/usr/bin/env bash
# Times the harness models beside their PyTorch twins in one run, at MNIST and CIFAR-10 size, and prints the ratios
# (twin over ours: how many times faster this program is).
#
#   scripts/compare_peer.sh [--samples N] [--threads N] [--model inverse-flow|snf] [mnist|cifar10]...
#
# Needs a built target/release/inverse-flow (INVERSE_FLOW_BIN names another) and the PyTorch of .venv (PYTHON names
# another). Without --model both are timed. Ten minutes on two CPU cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bin=${INVERSE_FLOW_BIN:-target/release/inverse-flow}
python=${PYTHON:-.venv/bin/python}
samples=5
threads=$(nproc)
images=()
models=(inverse-flow snf)
while [ $# -gt 0 ]; do
  case "$1" in
    --samples) samples=$2; shift 2 ;;
    --threads) threads=$2; shift 2 ;;
    --model) models=("$2"); shift 2 ;;
    mnist | cifar10) images+=("$1"); shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) printf 'compare_peer.sh: unknown argument %s (--help lists them)\n' "$1" >&2; exit 2 ;;
  esac
done
[ ${#images[@]} -gt 0 ] || images=(mnist cifar10)
[ -x "$bin" ] || { printf 'compare_peer.sh: %s is missing: cargo build --release\n' "$bin" >&2; exit 1; }

for model in "${models[@]}"; do
  for image in "${images[@]}"; do
    case "$image" in mnist) table=table3 ;; *) table=table6 ;; esac
    {
      "$bin" bench model --preset "$table/$model-harness" --device cpu --threads "$threads" --samples "$samples" --json
      "$python" scripts/peer_pytorch.py --model "$model" --image "$image" --samples "$samples" --threads "$threads"
    } | "$python" -c '
import json, sys
ours, *peers = [json.loads(line) for line in sys.stdin]
print(ours["preset"], "batch", ours["batch"], "on", ours["threads"], "threads")
for peer in peers:
    print("  PyTorch, allocator", peer["allocator"])
    for what in ("step", "forward", "sample_100"):
        a, b = ours[what]["median_ms"], peer[what]["median_ms"]
        print(f"    {what:<11} ours {a:8.1f} ms   twin {b:8.1f} ms   {b / a:5.2f} times faster")
    a, b = ours["peak_mib"], peer["peak_mib"]
    print(f"    peak memory ours {a:7.0f} MiB  twin {b:7.0f} MiB  {a / b:5.2f} of it")
' || exit 1
  done
done
