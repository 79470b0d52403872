# shellcheck shell=bash
# What the scripts share. Sourced; the caller has set -euo pipefail.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/versions.sh
source "$root/scripts/versions.sh"

# fail WHAT FIX: one line saying what is missing and what mends it.
fail() {
  printf '%s: %s. To mend it: %s\n' "$(basename "$0")" "$1" "$2" >&2
  exit 1
}

note() { printf '%s: %s\n' "$(basename "$0")" "$1" >&2; }

has() { command -v "$1" >/dev/null 2>&1; }

# version_ge A B: A >= B for dotted numbers of up to three parts.
version_ge() {
  local -a a b
  local i x y
  IFS=. read -r -a a <<<"$1"
  IFS=. read -r -a b <<<"$2"
  for i in 0 1 2; do
    x=${a[i]:-0} y=${b[i]:-0}
    x=${x%%[!0-9]*} y=${y%%[!0-9]*}
    if ((10#${x:-0} != 10#${y:-0})); then
      ((10#${x:-0} > 10#${y:-0}))
      return
    fi
  done
}

# install_hint DEBIAN FEDORA ALPINE-OR-OTHER: the command of this machine's package manager.
install_hint() {
  local sudo=
  [ "$(id -u 2>/dev/null || echo 0)" = 0 ] || sudo='sudo '
  if has apt-get; then
    printf '%sapt-get update && %sapt-get install -y %s' "$sudo" "$sudo" "$1"
  elif has dnf; then
    printf '%sdnf install -y %s' "$sudo" "$2"
  elif has yum; then
    printf '%syum install -y %s' "$sudo" "$2"
  else
    printf 'install %s (Debian, Ubuntu: apt-get install %s; Fedora: dnf install %s)' "$3" "$1" "$2"
  fi
}

# torch_version DIR: the version of the libtorch in DIR (a pip package or an unpacked archive).
torch_version() {
  if [ -r "$1/version.py" ]; then
    sed -n "s/^__version__ = '\([^']*\)'.*/\1/p" "$1/version.py"
  elif [ -r "$1/build-version" ]; then
    head -n 1 "$1/build-version"
  fi
}

# nvcc_version NVCC: "13.0".
nvcc_version() { "$1" --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\),.*/\1/p'; }

# wants_cuda: whether this build has CUDA kernels.
wants_cuda() { [ "${INVERSE_FLOW_CUDA:-1}" != 0 ]; }

# gpu_archs: what to compile kernels for, of $CUDA_ARCHS, so that every GPU of this machine is served: "80,90", from the
# oldest. Nothing where no GPU is found.
gpu_archs() {
  has nvidia-smi || return 0
  nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | awk -F. -v list="$CUDA_ARCHS" '
    BEGIN { count = split(list, known, ",") }
    # a capability of its own release runs the code of the nearest older one
    /^[0-9]+\.[0-9]+ *$/ { for (i = count; i > 0; i--) if (known[i] <= $1 * 10 + $2) { wanted[i] = 1; break } }
    END { for (i = 1; i <= count; i++) if (wanted[i]) { printf "%s%s", separator, known[i]; separator = "," } }'
}

# choose_archs present|all: notes for build.rs which architectures the kernels of this checkout are compiled for. `present`
# is those of the GPUs of this machine, or the oldest alone, which every GPU runs through its PTX; it never takes back what
# an earlier choice or build has, because every change compiles the program again.
choose_archs() {
  local file=$root/.venv/cuda-archs archs=all
  wants_cuda && [ -z "${INVERSE_FLOW_CUDA_ARCHS:-}" ] || return 0
  if [ "$1" = present ]; then
    [ ! -e "$file" ] && [ ! -e "$(target_dir)/release/inverse-flow" ] || return 0
    archs=$(gpu_archs)
    archs=${archs:-${CUDA_ARCHS%%,*}}
  fi
  # a file that does not change keeps its time, so that nothing is built again
  if [ ! -r "$file" ] || [ "$(<"$file")" != "$archs" ]; then
    mkdir -p "$root/.venv"
    printf '%s\n' "$archs" >"$file"
  fi
}

# chosen_archs: what the kernels are compiled for, for people to read.
chosen_archs() {
  local archs=${INVERSE_FLOW_CUDA_ARCHS:-}
  [ -n "$archs" ] || archs=$(cat "$root/.venv/cuda-archs" 2>/dev/null || echo all)
  if [ "$archs" = all ]; then archs=$CUDA_ARCHS; fi
  printf 'sm_%s' "${archs//,/, sm_}"
}

target_dir() { printf '%s' "${CARGO_TARGET_DIR:-$root/target}"; }

# torch_python: a Python that can import the torch of this build; fails where there is none.
torch_python() {
  local python
  for python in "$root/.venv/bin/python" python3; do
    if "$python" -c "import sys, torch; sys.exit(torch.__version__.split('+')[0] != '$TORCH_VERSION')" \
      >/dev/null 2>&1; then
      printf '%s' "$python"
      return
    fi
  done
  return 1
}
