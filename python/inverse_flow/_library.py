"""Finds ``libinverse_flow.so`` and loads it into torch, once.

The first of these that exists is used:

1. the file that the environment variable ``INVERSE_FLOW_LIBRARY`` names; if it is set, nothing else is tried;
2. ``target/release/libinverse_flow.so`` of the checkout that this file is in (``$CARGO_TARGET_DIR/release`` where that
   is set);
3. ``libinverse_flow.so`` next to this file: in an installed wheel, and for those who copy the package somewhere else.

The library is built for one version of torch. It contains that version's name, which is read from the file *before* the
library is loaded: libtorch's C++ interface changes with every version, and a library for another one ends in undefined
symbols at best and in a crash at worst.
"""

from __future__ import annotations

import mmap
import os
import re
from pathlib import Path

import torch

_NAME = "libinverse_flow.so"
# src/ffi/bridge.cpp has the other end of this, and python/backend/inverse_flow_wheel.py reads it too
_MARK = re.compile(rb"inverse-flow: built for torch ([0-9][0-9.]*)")
_BUILD = "`scripts/setup.sh && cargo build --release` in the checkout of inverse-flow makes it"


class LibraryError(ImportError):
    """The shared library is missing, is not one, or is made for another torch; the message says what to do."""


def library_path() -> Path:
    """Where the shared library is.

    Raises:
        LibraryError: it is nowhere; the message lists the places that were looked at.
    """
    named = os.environ.get("INVERSE_FLOW_LIBRARY")
    if named:
        path = Path(named)
        if path.is_file():
            return path
        raise LibraryError(
            f"INVERSE_FLOW_LIBRARY names {path}, which is no file: correct it, or unset it; {_BUILD}"
        )
    here = Path(__file__).resolve().parent
    checkout = here.parents[1]
    places = [here / _NAME]
    if (checkout / "Cargo.toml").is_file():
        target = os.environ.get("CARGO_TARGET_DIR") or "target"
        places.insert(0, checkout / target / "release" / _NAME)
    for path in places:
        if path.is_file():
            return path
    looked = " and ".join(str(path) for path in places)
    raise LibraryError(f"{_NAME} is not at {looked}: {_BUILD}; INVERSE_FLOW_LIBRARY may name it elsewhere")


def load() -> None:
    """Registers the operators in ``torch.ops.inverse_flow``, unless that has been done.

    Raises:
        LibraryError: see :class:`LibraryError`.
    """
    if _registered():
        return
    path = library_path()
    _check_version(path)
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        raise LibraryError(f"{path} cannot be loaded: {error}; {_BUILD}") from error


def _registered() -> bool:
    return hasattr(torch.ops.inverse_flow, "inv_conv2d")


def _check_version(path: Path) -> None:
    """Compares the torch that the library is made for with the one that is running."""
    built_for = _torch_of(path)
    if built_for is None:
        raise LibraryError(f"{path} is not the operator library of inverse-flow: {_BUILD}")
    running = torch.__version__.split("+")[0]
    if built_for != running:
        raise LibraryError(
            f"{path} is built for torch {built_for} and this is torch {running}: use a Python with that torch "
            f"(pip install torch=={built_for}), such as .venv/bin/python of the checkout"
        )


def _torch_of(path: Path) -> str | None:
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return None  # an empty file cannot be mapped
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as contents:
            found = _MARK.search(contents)
            return found.group(1).decode() if found else None
