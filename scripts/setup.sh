#!/usr/bin/env bash
# Prepares a machine that has Rust, a C++ compiler and Python: checks them, makes .venv, installs
# libtorch and nvcc into it by pip, and links them as .venv/libtorch and .venv/cuda, where
# .cargo/config.toml and build.rs look. A second run takes a fraction of a second.
#
#   scripts/setup.sh               sets up
#   scripts/setup.sh --build-ahead while pip works, also compiles the crates that need no libtorch (release profile)
#
# Environment:
#   LIBTORCH             an installed libtorch of the right version; then none is installed
#   CUDA_HOME            an installed CUDA toolkit; then no nvcc is installed
#   INVERSE_FLOW_NVCC    an installed nvcc; the same
#   INVERSE_FLOW_CUDA=0  build without CUDA kernels: no nvcc is needed
#   PYTHON               the Python that makes .venv
#   PIP_INDEX_URL, HTTPS_PROXY, ...  as pip reads them
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

venv=$root/.venv
stamp=$venv/inverse-flow.stamp
unfinished=$venv/inverse-flow.unfinished

build_ahead=no
case ${1:-} in
'') ;;
--build-ahead) build_ahead=yes ;;
-h | --help)
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit 0
  ;;
*) fail "unknown argument $1" "run scripts/setup.sh without arguments (--help explains the rest)" ;;
esac

check_system() {
  local kernel glibc
  kernel=$(uname -s)
  [ "$kernel" = Linux ] ||
    fail "this is $kernel, and libtorch with CUDA $CUDA_VERSION is installed for Linux only" \
      "use Linux (on Windows: WSL 2)"
  glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null || true)
  [ -n "$glibc" ] ||
    fail "this system has no glibc (musl?), which libtorch needs" "use a distribution with glibc, such as Debian"
  version_ge "${glibc##* }" "$GLIBC_MIN" ||
    fail "$glibc is older than the $GLIBC_MIN that libtorch needs" "use Debian 10, Ubuntu 20.04, RHEL 8 or newer"
}

check_rust() {
  local found tool
  local get_rust="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
  for tool in cargo rustc; do
    has "$tool" ||
      fail "$tool is not found" "$get_rust, then open a new shell (or: . ~/.cargo/env)"
  done
  found=$(rustc --version 2>/dev/null | cut -d' ' -f2) || found=
  [ -n "$found" ] || fail "rustc does not run" "rustup default stable"
  version_ge "$found" "$RUST_MIN" || {
    if has rustup; then get_rust="rustup update stable && rustup default stable"; fi
    fail "rustc is $found, and $RUST_MIN or newer is needed" "$get_rust"
  }
}

check_compiler() {
  local cxx=${CXX:-c++} dir hint
  hint=$(install_hint g++ gcc-c++ 'a C++17 compiler')
  # CXX may hold flags too ("ccache g++"), so it is split into words on purpose
  # shellcheck disable=SC2086
  has ${cxx%% *} || fail "no C++ compiler ($cxx) is found" "$hint"
  has "${CC:-cc}" || fail "no C compiler (${CC:-cc}), which Rust links with, is found" "$(install_hint gcc gcc 'a C compiler')"
  dir=$(mktemp -d)
  cat >"$dir/probe.cpp" <<'CPP'
#include <optional>
#include <string_view>
int main() { std::optional<std::string_view> x{"c++17"}; return x->size() == 5 ? 0 : 1; }
CPP
  # shellcheck disable=SC2086
  if ! $cxx -std=c++17 "$dir/probe.cpp" -o "$dir/probe" >"$dir/log" 2>&1; then
    local why
    why=$(grep -m 1 -E 'error|unrecognized|cannot' "$dir/log" || head -n 1 "$dir/log")
    rm -rf "$dir"
    fail "$cxx does not compile C++17 (${why:-no message})" "$hint"
  fi
  rm -rf "$dir"
}

python_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

# Sets python and python_found: $PYTHON, else the first Python that can import torch, else one that
# can at least install it.
find_python() {
  local candidate found oldest='' oldest_found=''
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
    found=$(python_version "$candidate")
    [ -n "$found" ] || continue
    if version_ge "$found" "$PYTHON_TORCH_MIN"; then
      python=$candidate python_found=$found
      return
    fi
    [ -n "$oldest" ] || { oldest=$candidate oldest_found=$found; }
  done
  [ -n "$oldest" ] ||
    fail "${PYTHON:-python3} is not found or does not run" "$(install_hint 'python3 python3-venv' 'python3 python3-pip' 'Python 3.9 or newer')"
  version_ge "$oldest_found" "$PYTHON_MIN" ||
    fail "$oldest is $oldest_found, and $PYTHON_MIN or newer is needed" "$(install_hint 'python3 python3-venv' python3.12 'Python 3.9 or newer'), or name a newer one in PYTHON"
  python=$oldest python_found=$oldest_found
}

check_python() {
  find_python
  # Debian and Ubuntu leave ensurepip out of python3 until python3-venv is installed
  "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
    fail "$python ($python_found) has no venv module with pip" \
      "$(install_hint "python$python_found-venv" "python3-pip" "Python's venv and ensurepip modules")"
}

check_disk() {
  local free_kb
  free_kb=$(df -Pk "$root" | awk 'NR == 2 {print $4}')
  [ "${free_kb:-0}" -ge $((DISK_GB * 1000 * 1000)) ] ||
    fail "$root has $((${free_kb:-0} / 1000 / 1000)) GB of free disk, and $DISK_GB GB are needed for .venv" \
      "free some space, or put the checkout on a larger disk"
}

# A libtorch of the user's own choice; sets own_libtorch.
check_libtorch() {
  own_libtorch=no
  [ -n "${LIBTORCH:-}" ] || return 0
  local found
  # .cargo/config.toml hands this very path to every program that cargo runs, tests of this script too
  [ "$LIBTORCH" != "$venv/libtorch" ] || return 0
  local way_out="unset LIBTORCH (then scripts/setup.sh installs the right one)"
  [ -e "$LIBTORCH/lib/libtorch_cpu.so" ] || fail "LIBTORCH=$LIBTORCH holds no lib/libtorch_cpu.so" "$way_out"
  found=$(torch_version "$LIBTORCH")
  [ "${found%%+*}" = "$TORCH_VERSION" ] ||
    fail "LIBTORCH=$LIBTORCH is libtorch ${found:-of an unknown version}, and $TORCH_VERSION is needed" "$way_out"
  own_libtorch=yes
}

# Sets need_nvcc: whether pip has to bring nvcc.
check_cuda_home() {
  need_nvcc=no
  wants_cuda || return 0
  need_nvcc=yes
  if [ -n "${INVERSE_FLOW_NVCC:-}" ]; then
    [ -x "$INVERSE_FLOW_NVCC" ] ||
      fail "INVERSE_FLOW_NVCC=$INVERSE_FLOW_NVCC is no program" "unset INVERSE_FLOW_NVCC (then nvcc $CUDA_VERSION is installed in .venv)"
    need_nvcc=no
    return
  fi
  [ -n "${CUDA_HOME:-}" ] || return 0
  [ "$CUDA_HOME" != "$venv/cuda" ] || return 0
  local found way_out="unset CUDA_HOME (then nvcc $CUDA_VERSION is installed in .venv), or set INVERSE_FLOW_CUDA=0 to build without CUDA"
  [ -x "$CUDA_HOME/bin/nvcc" ] || fail "CUDA_HOME=$CUDA_HOME holds no bin/nvcc" "$way_out"
  found=$(nvcc_version "$CUDA_HOME/bin/nvcc")
  version_ge "${found:-0}" "$CUDA_MIN" ||
    fail "CUDA_HOME=$CUDA_HOME has nvcc ${found:-that does not run}, and $CUDA_MIN or newer is needed" "$way_out"
  need_nvcc=no
}

# What the stamp says when everything asked for is installed.
expected_stamp() {
  printf 'torch %s\nnvcc %s\n' "$([ "$own_libtorch" = yes ] && echo own || echo "$TORCH_VERSION")" \
    "$([ "$need_nvcc" = yes ] && echo "$CUDA_VERSION" || echo none)"
}

# Whether the last run finished, for the same versions, and what it made is still there.
is_complete() {
  [ -r "$stamp" ] && [ ! -e "$unfinished" ] && [ -x "$venv/bin/python" ] || return 1
  local want_torch want_nvcc have
  have=$(<"$stamp")
  want_torch=$(expected_stamp | sed -n 1p)
  want_nvcc=$(expected_stamp | sed -n 2p)
  # more than is asked for (nvcc with INVERSE_FLOW_CUDA=0, torch beside LIBTORCH) is no reason to install
  case $want_torch in
  'torch own') ;;
  *) [[ $have == *"$want_torch"* ]] && [ -e "$venv/libtorch/lib/libtorch_cpu.so" ] || return 1 ;;
  esac
  case $want_nvcc in
  'nvcc none') ;;
  *) [[ $have == *"$want_nvcc"* ]] && [ -x "$venv/cuda/bin/nvcc" ] || return 1 ;;
  esac
}

make_venv() {
  if [ -e "$unfinished" ]; then
    note "an earlier set-up was interrupted: starting .venv afresh"
    rm -rf "$venv"
  fi
  mkdir -p "$venv" || fail "$venv cannot be made" "remove what stands there: rm -rf $venv"
  : >"$unfinished"
  rm -f "$stamp"
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    note "making .venv with $python ($python_found)"
    "$python" -m venv --clear "$venv" ||
      fail "$python could not make $venv" "rm -rf $venv, then run again; on Debian: $(install_hint "python$python_found-venv" python3-pip 'the venv module')"
    : >"$unfinished" # --clear took it away
  fi
}

check_network() {
  [ -z "${PIP_NO_INDEX:-}" ] || return 0
  # asks pip itself, so that its mirrors, proxies and certificates count
  if ! "$venv/bin/python" -m pip index versions torch --retries 1 --timeout 20 >"$venv/index.log" 2>&1 &&
    ! grep -q 'unknown command' "$venv/index.log"; then
    fail "pip cannot reach its package index ($(tail -n 1 "$venv/index.log"))" \
      "check the network; behind a proxy set HTTPS_PROXY, with a mirror set PIP_INDEX_URL, then run again"
  fi
}

install_packages() {
  local -a packages=() how=()
  local log=$venv/pip.log site
  [ "$own_libtorch" = yes ] || packages+=("${TORCH_PACKAGES[@]}")
  [ "$need_nvcc" = no ] || packages+=("${NVCC_PACKAGES[@]}")
  [ ${#packages[@]} -gt 0 ] || return 0
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  if ! version_ge "$(python_version "$venv/bin/python")" "$PYTHON_TORCH_MIN"; then
    note "this Python is older than $PYTHON_TORCH_MIN: libtorch is installed and works, 'import torch' does not"
    how=(--target "$site" --upgrade --python-version 3.12 --ignore-requires-python --only-binary=:all:)
    local minor machine
    machine=$(uname -m)
    for ((minor = 5; minor <= ${GLIBC_MIN#2.}; minor++)); do
      how+=(--platform "manylinux_2_${minor}_$machine")
    done
    how+=(--platform "manylinux2014_$machine")
  fi
  note "installing ${packages[*]} (about 3 GB to download, 5 GB on the disk; 1 to 3 minutes with a fast network)"
  # wheels are unpacked where there is room: /tmp is often small; Python compiles what it imports when it does
  mkdir -p "$venv/tmp"
  if ! TMPDIR=$venv/tmp "$venv/bin/python" -m pip install --log "$log" --disable-pip-version-check --no-compile \
    ${how[@]+"${how[@]}"} "${packages[@]}"; then
    fail "pip could not install libtorch and nvcc; its log is $log" \
      "check the network and the disk, then run again"
  fi
  rm -rf "$venv/tmp"
}

# Links what was installed under names without a Python version in them, and reads the versions back.
link_and_verify() {
  local site found again="rm -rf $venv, then run again"
  site=$(cd "$venv" && echo lib/python*/site-packages)
  if [ "$own_libtorch" = no ]; then
    found=$(torch_version "$venv/$site/torch")
    [ "${found%%+*}" = "$TORCH_VERSION" ] && [ -e "$venv/$site/torch/lib/libtorch_cpu.so" ] ||
      fail "$venv holds torch ${found:-nothing}, not $TORCH_VERSION" "$again"
    ln -sfn "$site/torch" "$venv/libtorch"
    note "libtorch $found in .venv/libtorch"
  fi
  if [ "$need_nvcc" = yes ]; then
    ln -sfn "$site/nvidia/cu13" "$venv/cuda"
    found=$(nvcc_version "$venv/cuda/bin/nvcc" || true)
    [ "$found" = "$CUDA_VERSION" ] || fail "$venv/cuda/bin/nvcc is ${found:-missing}, not $CUDA_VERSION" "$again"
    note "nvcc $found in .venv/cuda"
  fi
}

# While pip waits for the network: the crates that need no libtorch. torch-sys fails without it, and is left for the build
# that follows, as is everything that depends on it.
start_building() {
  [ "$build_ahead" = yes ] || return 0
  # with a libtorch at hand the build would go through, to a program without kernels if nvcc is still missing
  [ "$own_libtorch" = no ] && [ ! -e "$venv/libtorch" ] || return 0
  note "in the background: compiling the crates that need no libtorch"
  set -m # a process group of its own, to end with all its compilers
  (cd "$root" && exec cargo build --release --keep-going) >"$venv/build-ahead.log" 2>&1 </dev/null 9<&- &
  building=$!
  set +m
}

stop_building() {
  [ -n "${building:-}" ] || return 0
  # not INT: a set-up that was started in the background ignores it, and so do its compilers
  kill -TERM -- "-$building" 2>/dev/null || true
  wait "$building" 2>/dev/null || true
  building=
}

# Two scripts started together must not both install; the lock ends with this process.
lock() {
  has flock || return 0
  exec 9<"${BASH_SOURCE[0]}"
  flock -n 9 || {
    note "another set-up is running here: waiting for it"
    flock 9
  }
}

check_system
check_rust
check_libtorch
check_cuda_home
lock
if is_complete; then
  exit 0
fi
check_compiler
if [ "$own_libtorch" = yes ] && [ "$need_nvcc" = no ]; then
  exit 0 # nothing is left for pip, and the program itself needs no Python
fi
check_python
check_disk
started=$SECONDS
make_venv
check_network
building=
trap stop_building EXIT
start_building
install_packages
stop_building
link_and_verify
note "set up in $((SECONDS - started)) s"
expected_stamp >"$stamp"
rm -f "$unfinished"
