#!/usr/bin/env bash
# Sets the machine up, then runs every check of the project and ends with one line that sums it up.
#
#   scripts/test.sh             everything
#   scripts/test.sh --quick     format, layers, lints and the library's own tests
#   scripts/test.sh NAME...     some of: fmt layers readme clippy doc build test lib python dependent smoke
#
# Everything is built in the release profile: libtorch's bindings take minutes and are compiled once.
# Tests on MNIST and CIFAR-10 run where INVERSE_FLOW_DATA (or data/) holds them.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

all=(fmt layers readme clippy doc build test python dependent smoke)
steps=()
for arg in "$@"; do
  case $arg in
  -h | --help)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  --quick) steps+=(fmt layers readme clippy lib) ;;
  fmt | layers | readme | clippy | doc | build | test | lib | python | dependent | smoke) steps+=("$arg") ;;
  *)
    printf 'test.sh: no step is called %s: use --quick, or some of: fmt layers readme clippy doc build test lib python dependent smoke\n' "$arg" >&2
    exit 2
    ;;
  esac
done
[ ${#steps[@]} -gt 0 ] || steps=("${all[@]}")

scripts/setup.sh

# the Rust tests write TorchScript files there, and the Python tests read them; unset, they write them again
export INVERSE_FLOW_SCRIPT_FILES=$PWD/target/script-files
rm -rf "$INVERSE_FLOW_SCRIPT_FILES"

passed=() failed=() skipped=() times=()

python_tests() {
  local python
  if ! compgen -G 'tests/python/test_*.py' >/dev/null; then
    skipped+=("Python tests (tests/python holds none)")
    return
  fi
  if ! python=$(torch_python); then
    skipped+=("Python tests (no Python here imports torch $TORCH_VERSION)")
    return
  fi
  # the tests load target/release/libinverse_flow.so
  cargo build --release && "$python" -m unittest discover --start-directory tests/python --verbose
}

# Every row of the paper's tables, once.
smoke() {
  local out=target/reproduce-smoke
  rm -rf "$out"
  cargo build --release && scripts/reproduce_smoke.sh "$out"
}

run_step() {
  case $1 in
  fmt) cargo fmt --check ;;
  layers) scripts/check_layers.sh ;;
  readme) python3 scripts/results_page.py --check ;;
  clippy) cargo clippy --release --all-targets -- -D warnings ;;
  doc) RUSTDOCFLAGS='-D warnings' cargo doc --release --no-deps ;;
  build) cargo build --release ;;
  test) cargo build --release && cargo test --release --no-fail-fast ;;
  lib) cargo test --release --lib ;;
  python) python_tests ;;
  dependent) cargo build --release && scripts/dependent.sh ;;
  smoke) smoke ;;
  esac
}

for step in "${steps[@]}"; do
  printf '\n== %s ==\n' "$step"
  before=${#skipped[@]}
  SECONDS=0
  # a failed step does not hide the next one's result
  if run_step "$step"; then
    [ "${#skipped[@]}" -gt "$before" ] || passed+=("$step")
  else
    failed+=("$step")
  fi
  times+=("$step $SECONDS s")
done

compgen -G '/dev/nvidia[0-9]*' >/dev/null || skipped+=("tests on a GPU (this machine has none)")
data=${INVERSE_FLOW_DATA:-data}
compgen -G "$data/mnist/train-images*" >/dev/null || skipped+=("tests on MNIST (not in $data/mnist)")
compgen -G "$data/cifar-10-batches-bin/*.bin" >/dev/null ||
  skipped+=("tests on CIFAR-10 (not in $data/cifar-10-batches-bin)")

printf '\n'
printf 'time: %s\n' "$(IFS=, && printf '%s' "${times[*]}")"
for what in ${skipped[@]+"${skipped[@]}"}; do
  printf 'skipped: %s\n' "$what"
done
if [ ${#failed[@]} -gt 0 ]; then
  printf 'test.sh: FAILED: %s; %d passed, %d skipped\n' "${failed[*]}" "${#passed[@]}" "${#skipped[@]}"
  exit 1
fi
printf 'test.sh: ok: %s; %d skipped\n' "${passed[*]-nothing ran}" "${#skipped[@]}"
