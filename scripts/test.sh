#!/usr/bin/env bash
# Sets the machine up, then runs every check of the project. The last line counts: "N passed, N failed, N skipped". A
# test counts as one, and so does a step without tests.
#
#   scripts/test.sh             everything
#   scripts/test.sh --quick     format, layers, lints and the library's own tests
#   scripts/test.sh NAME...     some of: fmt layers readme licences clippy doc build test emulated sanitize kernels lib
#                               python dependent msrv smoke
#
# Everything is built in the release profile: libtorch's bindings take minutes and are compiled once. The steps test
# and kernels have the kernels compiled for all architectures, once for all steps.
# The step test has its tensors on the CPU; the step emulated runs the same tests, and those of GPUs, on CUDA devices that the
# host emulates (scripts/emulated_gpu.sh), and the step sanitize small ones of them under AddressSanitizer.
# A test that needs something this machine lacks is skipped, and named at the end with the reason: MNIST and CIFAR-10 are
# looked for in INVERSE_FLOW_DATA (or data/).
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

all=(fmt layers readme licences clippy doc build test emulated sanitize kernels python dependent msrv smoke)
steps=()
for arg in "$@"; do
  case $arg in
  -h | --help)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  --quick) steps+=(fmt layers readme clippy lib) ;;
  fmt | layers | readme | licences | clippy | doc | build | test | emulated | sanitize | kernels | lib | python | dependent | msrv | smoke)
    steps+=("$arg")
    ;;
  *)
    printf 'test.sh: no step is called %s: use --quick, or some of: %s lib\n' "$arg" "${all[*]}" >&2
    exit 2
    ;;
  esac
done
[ ${#steps[@]} -gt 0 ] || steps=("${all[@]}")

scripts/setup.sh --build-ahead
[[ ! " ${steps[*]} " =~ " test "|" kernels " ]] || choose_archs all

# the Rust tests write TorchScript files there, and the Python tests read them; unset, they write them again
export INVERSE_FLOW_SCRIPT_FILES=$PWD/target/script-files
rm -rf "$INVERSE_FLOW_SCRIPT_FILES"

passed=() failed=() skipped=() times=()
tests_passed=0 tests_failed=0 tests_skipped=0

# what the tests of a step print, and the notes of those that are skipped, which cargo counts as passed
mkdir -p target
log=$PWD/target/tests.log
export INVERSE_FLOW_SKIPPED_TESTS=$PWD/target/skipped-tests.txt

# Adds up what the test programs of a step said: cargo's "test result: ", unittest's "Ran " and its verdict, one line for
# each test that is skipped. Fails where nothing was said.
count_tests() {
  local line p f s noted=0
  [ -s "$log" ] || return 1
  read -r p f s < <(awk '
    /^test result: / {
      for (i = 2; i <= NF; i++) {
        if ($i == "passed;") p += $(i - 1)
        if ($i == "failed;") f += $(i - 1)
        if ($i == "ignored;") s += $(i - 1)
      }
    }
    # a block of documentation that is no program is no test
    /^test .* \(line [0-9]+\) \.\.\. ignored/ { s-- }
    /^Ran [0-9]+ tests? in / { p += $2 }
    /^(OK|FAILED) \(/ {
      gsub(/[(),]/, "")
      for (i = 2; i <= NF; i++) {
        split($i, pair, "=")
        p -= pair[2]
        if (pair[1] == "skipped") s += pair[2]; else f += pair[2]
      }
    }
    END { print p + 0, f + 0, s + 0 }' "$log")
  while IFS= read -r line; do
    skipped+=("$line")
  done < <(sed -n -e '/(line [0-9]*) \.\.\. ignored/d' -e 's/^test \(.*\) \.\.\. ignored/\1: ignored/p' \
    -e "s/^\(.*\) \.\.\. skipped ['\"]\(.*\)['\"]$/\1: \2/p" "$log")
  if [ -s "$INVERSE_FLOW_SKIPPED_TESTS" ]; then
    while IFS= read -r line; do
      skipped+=("${line#skipped: }")
      noted=$((noted + 1))
    done <"$INVERSE_FLOW_SKIPPED_TESTS"
  fi
  tests_passed=$((tests_passed + p - noted))
  tests_failed=$((tests_failed + f))
  tests_skipped=$((tests_skipped + s + noted))
  [ $((p + f + s)) -gt 0 ]
}

# A step that needs what is not here counts as one test that is skipped.
skip_step() {
  skipped+=("$1")
  tests_skipped=$((tests_skipped + 1))
}

# Installs what the Python tests need beside torch, in the Python that scripts/setup.sh has made and in no other. Without it
# the tests that need it are skipped.
test_packages() {
  ! "$1" -c 'import tensorboard, pandas' 2>/dev/null || return 0
  [ "$1" = "$root/.venv/bin/python" ] || return 0
  "$1" -m pip install --quiet --disable-pip-version-check "${TEST_PACKAGES[@]}" ||
    note "${TEST_PACKAGES[*]} could not be installed: the tests that need them are skipped"
}

# Makes a wheel and installs it into an environment of its own, where the tests of Python run, with nothing of the source tree
# on Python's path. The torch that the wheel demands is that of $1, seen through a path file: pip may download nothing.
installed=$PWD/target/python-tests
install_wheel() {
  local wheel site pip=("$installed/bin/python" -m pip install --quiet --disable-pip-version-check --no-index)
  { wheel=$(scripts/wheel.sh | tail -n 1); } 2>&1 || return 1
  rm -rf "$installed"
  "$1" -m venv "$installed" || return 1
  site=$("$installed/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') || return 1
  (cd / && "$1" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])') >"$site/torch.pth" || return 1
  # there may be an editable one beside that torch; the second call is content only if that torch is what the wheel demands
  "${pip[@]}" --no-deps --force-reinstall "$wheel" && "${pip[@]}" inverse-flow || return 1
  unset PYTHONPATH INVERSE_FLOW_LIBRARY
  (cd / && "$installed/bin/python" -c "import inverse_flow, sys; sys.exit(not inverse_flow.__file__.startswith('$site'))") || {
    note "the tests of Python would not run on the wheel, but on what $installed/bin/python imports as inverse_flow"
    return 1
  }
}

python_tests() {
  local python
  if ! compgen -G 'tests/python/test_*.py' >/dev/null; then
    skip_step "Python tests: tests/python holds none"
    return
  fi
  if ! python=$(torch_python); then
    skip_step "Python tests: no Python here imports torch $TORCH_VERSION"
    return
  fi
  test_packages "$python"
  install_wheel "$python" &&
    "$installed/bin/python" -m unittest discover --start-directory tests/python --verbose 2>&1 | tee "$log"
}

licences() {
  local code=0
  scripts/check_licences.sh || code=$?
  if [ "$code" = 77 ]; then
    skip_step "licences of the dependencies: no cargo-deny here"
    return
  fi
  return "$code"
}

# What the compiled kernels of all architectures take; the build has noted it.
kernels() {
  local code=0
  scripts/kernel_resources.sh --all || code=$?
  if [ "$code" = 77 ]; then
    skip_step "registers and spills of the kernels: this build has none"
    return
  fi
  return "$code"
}

# The oldest Rust that Cargo.toml promises compiles everything, where it is installed.
msrv() {
  local version=$RUST_MIN toolchain
  if [[ $(rustc --version) == "rustc $version."* ]]; then
    printf 'every step runs with Rust %s\n' "$version"
    return
  fi
  toolchain=$(rustup toolchain list 2>/dev/null | awk -v version="$version" \
    '$1 ~ "^" version "([.-]|$)" { print $1; exit }') || toolchain=
  if [ -z "$toolchain" ]; then
    skip_step "build with the oldest Rust: rustup toolchain install $version --profile minimal"
    return
  fi
  # not optimised and without kernels, which are no business of rustc
  INVERSE_FLOW_CUDA=0 CARGO_TARGET_DIR=$(target_dir)/msrv \
    cargo "+$toolchain" build --release --locked --config 'profile.release.opt-level=0'
}

# Everything is tested on the CPU; the tests of GPUs say that they are skipped, unless the step emulated runs them.
rust_tests() {
  local filter=()
  [[ " ${steps[*]} " != *" emulated "* ]] || filter=(-- --skip ::cuda_)
  cargo build --release && cargo test --release --no-fail-fast "${filter[@]}" 2>&1 | tee "$log"
}

# The tests of operators, layers, models and training with their tensors on an emulated GPU, and the tests of GPUs. What is
# about the CPU alone has run in the step test. An emulated GPU computes on one core: both halves run side by side.
on_emulated_gpu() {
  local code=0 other=$PWD/target/emulated.log job
  local run=(cargo test --release --no-fail-fast --config 'target."cfg(all())".runner="scripts/emulated_gpu.sh"')
  local here=(--test ops --test flows --test models --test train)
  local there=(--lib --test cuda --test distributed --test emulated_gpu --test program)
  # what both need is made once
  "${run[@]}" "${here[@]}" "${there[@]}" --no-run && scripts/emulated_gpu.sh true
  "${run[@]}" "${there[@]}" ::cuda_ >"$other" 2>&1 </dev/null &
  job=$!
  "${run[@]}" "${here[@]}" -- --skip ::cpu_ || code=1
  wait "$job" || code=1
  cat "$other"
  return "$code"
}

emulated() {
  if ! wants_cuda; then
    skip_step "tests on an emulated GPU: a build with INVERSE_FLOW_CUDA=0 has no kernels"
    return
  fi
  cargo build --release && INVERSE_FLOW_TEST_DEVICE=cuda on_emulated_gpu 2>&1 | tee "$log"
}

# The kernels on small shapes, with every address that they touch watched: one element beyond a buffer is an error.
sanitize() {
  if ! wants_cuda; then
    skip_step "kernels under AddressSanitizer: a build with INVERSE_FLOW_CUDA=0 has no kernels"
    return
  fi
  INVERSE_FLOW_TEST_DEVICE=cuda cargo test --release \
    --config 'target."cfg(all())".runner=["scripts/emulated_gpu.sh", "--sanitize", "address"]' \
    --test cuda --test ops -- cuda_small actnorm:: coupling:: cuda_spline 2>&1 | tee "$log"
}

# It compiles one crate on one core, and the Python tests before it use one most of the time: it runs beside them.
dependent_log=$PWD/target/dependent.log
dependent_job=
start_dependent() {
  (cargo build --release && scripts/dependent.sh) >"$dependent_log" 2>&1 </dev/null &
  dependent_job=$!
  # what runs in the background ignores an interrupt
  trap 'kill "$dependent_job" 2>/dev/null || true' EXIT
}

dependent() {
  local code=0
  [ -n "$dependent_job" ] || start_dependent
  wait "$dependent_job" || code=$?
  cat "$dependent_log"
  return "$code"
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
  licences) licences ;;
  msrv) msrv ;;
  readme) python3 scripts/check_docs.py && python3 scripts/results_page.py --check ;;
  clippy) cargo clippy --release --all-targets -- -D warnings ;;
  doc) RUSTDOCFLAGS='-D warnings' cargo doc --release --no-deps ;;
  build) cargo build --release ;;
  test) rust_tests ;;
  emulated) emulated ;;
  sanitize) sanitize ;;
  kernels) kernels ;;
  lib) cargo test --release --lib 2>&1 | tee "$log" ;;
  python) python_tests ;;
  dependent) dependent ;;
  smoke) smoke ;;
  esac
}

for step in "${steps[@]}"; do
  printf '\n== %s ==\n' "$step"
  rm -f "$log" "$INVERSE_FLOW_SKIPPED_TESTS"
  before=$tests_skipped
  fails=$tests_failed
  SECONDS=0
  [[ $step != python || " ${steps[*]} " != *" dependent "* ]] || start_dependent
  # a failed step does not hide the next one's result
  if run_step "$step"; then
    if count_tests; then
      passed+=("$step")
    elif [ "$tests_skipped" -eq "$before" ]; then
      passed+=("$step")
      tests_passed=$((tests_passed + 1))
    fi
  else
    failed+=("$step")
    count_tests || true
    # a step that failed without a test that failed: it was not built, or was ended
    [ "$tests_failed" -gt "$fails" ] || tests_failed=$((tests_failed + 1))
  fi
  times+=("$step $SECONDS s")
done

printf '\n'
printf 'time: %s\n' "$(IFS=, && printf '%s' "${times[*]}")"
for what in ${skipped[@]+"${skipped[@]}"}; do
  printf 'skipped: %s\n' "$what"
done
if [ ${#failed[@]} -gt 0 ]; then
  printf 'test.sh: FAILED: %s\n' "${failed[*]}"
else
  printf 'test.sh: ok: %s\n' "${passed[*]-nothing ran}"
fi
printf '%d passed, %d failed, %d skipped\n' "$tests_passed" "$tests_failed" "$tests_skipped"
[ ${#failed[@]} -eq 0 ]
