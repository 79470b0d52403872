#!/bin/bash
# Stands in for Python, its venv module and pip: what they do to the disk, without a download.
# FAKE_PYTHON, FAKE_NO_VENV, FAKE_OFFLINE, FAKE_PIP_FAILS and FAKE_KILL choose what goes wrong; FAKE_LOG counts installs;
# an install waits until the file FAKE_WAIT has something in it.
site=${0%/bin/*}/lib/python3.11/site-packages
case "$*" in
*version_info*) echo "${FAKE_PYTHON:-3.11}" ;;
*ensurepip*) exit "${FAKE_NO_VENV:-0}" ;;
*purelib*) echo "$site" ;;
'-m venv --clear '*)
  venv=${*: -1}
  rm -rf "$venv"
  mkdir -p "$venv/bin" "$venv/lib/python3.11/site-packages"
  cp "$0" "$venv/bin/python"
  ;;
'-m pip index '*)
  if [ -n "$FAKE_OFFLINE" ]; then
    echo 'ERROR: No matching distribution found for torch'
    exit 1
  fi
  ;;
'-m pip install '*)
  echo "$*" >>"$FAKE_LOG"
  while [ -n "$FAKE_WAIT" ] && [ ! -s "$FAKE_WAIT" ]; do read -rt 0.05 <> <(:); done
  [ -z "$FAKE_PIP_FAILS" ] || exit 1
  mkdir -p "$site/torch/lib"
  [ -z "$FAKE_KILL" ] || kill -KILL $PPID
  case "$*" in *torch==*)
    echo "__version__ = '${FAKE_TORCH:-2.11.0+cu130}'" >"$site/torch/version.py"
    : >"$site/torch/lib/libtorch_cpu.so"
    ;;
  esac
  case "$*" in *nvidia-cuda-nvcc*)
    mkdir -p "$site/nvidia/cu13/bin"
    printf '#!/bin/bash\necho "Cuda compilation tools, release 13.0, V13.0.88"\n' >"$site/nvidia/cu13/bin/nvcc"
    chmod +x "$site/nvidia/cu13/bin/nvcc"
    ;;
  esac
  ;;
esac
