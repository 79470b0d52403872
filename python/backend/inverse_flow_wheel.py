"""Builds the wheel of the package: what `pip wheel python/`, `pip install python/` and `pip install -e python/` call.

The wheel has the library that `cargo build --release` made, without its symbol table and without the path of the libtorch
that it was linked with: by the time it is loaded, `import torch` has loaded libtorch. It demands the very torch that the
library is made for, because libtorch's C++ interface changes with every version. Only the standard library is used, so that
nothing is downloaded to build it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

from elf import Library
from platform_tag import platform_tag

PYTHON = pathlib.Path(__file__).resolve().parents[1]
ROOT = PYTHON.parent
PACKAGE = "inverse_flow"
LIBRARY = "libinverse_flow.so"
LICENCES = ["LICENSE-APACHE", "LICENSE-MIT"]
# of every file in the wheel, so that the same build gives the same bytes
TIME = (1980, 1, 1, 0, 0, 0)


# --- what pip calls -------------------------------------------------------------------------------------------------


def get_requires_for_build_wheel(config_settings=None) -> list[str]:
    return [] if sys.version_info >= (3, 11) else ["tomli"]


get_requires_for_build_editable = get_requires_for_build_wheel


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None) -> str:
    library = built_library()
    wheel, tag = for_others(library)
    files = {f"{PACKAGE}/{path.name}": path.read_bytes() for path in sorted((PYTHON / PACKAGE).glob("*.py"))}
    files[f"{PACKAGE}/py.typed"] = b""
    files[f"{PACKAGE}/{LIBRARY}"] = wheel
    return write(pathlib.Path(wheel_directory), f"py3-none-{tag}", files, torch_of(library))


def build_editable(wheel_directory, config_settings=None, metadata_directory=None) -> str:
    files = {f"__editable__.{PACKAGE}.pth": f"{PYTHON}\n".encode()}
    return write(pathlib.Path(wheel_directory), "py3-none-any", files, torch_of_checkout())


def build_sdist(sdist_directory, config_settings=None) -> str:
    fail("the package has no source distribution: its library is made by cargo, from the checkout")


# --- the library ----------------------------------------------------------------------------------------------------


def built_library() -> pathlib.Path:
    """The library to pack: the file that INVERSE_FLOW_LIBRARY names, else that of the release build."""
    named = os.environ.get("INVERSE_FLOW_LIBRARY")
    target = ROOT / (os.environ.get("CARGO_TARGET_DIR") or "target")
    path = pathlib.Path(named) if named else target / "release" / LIBRARY
    if not path.is_file():
        fail(f"{path} is not there: run `scripts/setup.sh && cargo build --release` in {ROOT}, or `scripts/wheel.sh`")
    return path


def for_others(library: pathlib.Path) -> tuple[bytes, str]:
    """The library without what other machines have no use for, and the platforms that it is for."""
    strip = os.environ.get("STRIP") or shutil.which("strip") or shutil.which("llvm-strip")
    if not strip:
        fail("no `strip` is found: install binutils, or name a program that does the same in STRIP")
    with tempfile.TemporaryDirectory() as folder:
        stripped = pathlib.Path(folder) / LIBRARY
        done = subprocess.run([strip, "--strip-unneeded", "-o", stripped, library], capture_output=True, text=True)
        if done.returncode != 0:
            fail(f"{strip} cannot strip {library}: {done.stderr.strip()}")
        elf = Library(stripped)
    elf.remove_run_paths()
    return bytes(elf.bytes), platform_tag(elf.needed(), elf.versions())


def torch_of(library: pathlib.Path) -> str:
    """The torch that a library says it is made for; inverse_flow/_library.py reads the same mark."""
    found = re.search(rb"inverse-flow: built for torch ([0-9][0-9.]*)", library.read_bytes())
    if not found:
        fail(f"{library} is not the operator library of inverse-flow")
    return found.group(1).decode()


def torch_of_checkout() -> str:
    return found_in("scripts/versions.sh", r"^TORCH_VERSION=(\S+)")


# --- the wheel ------------------------------------------------------------------------------------------------------


def write(folder: pathlib.Path, tag: str, files: dict[str, bytes], torch: str) -> str:
    """Writes a wheel and returns its name."""
    project, version = read_project(), version_of_crate()
    info = f"{PACKAGE}-{version}.dist-info"
    files = dict(files)
    files[f"{info}/METADATA"] = metadata(project, version, torch).encode()
    files[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: inverse-flow\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
    )
    for licence in LICENCES:
        files[f"{info}/licenses/{licence}"] = (ROOT / licence).read_bytes()
    record = [f"{name},sha256={digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    name = f"{PACKAGE}-{version}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file, content in files.items():
            entry = zipfile.ZipInfo(file, TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if file.endswith(".so") else 0o100644) << 16
            wheel.writestr(entry, content)
    return name


def metadata(project: dict, version: str, torch: str) -> str:
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {version}",
        f"Summary: {project['description']}",
        f"Keywords: {','.join(project['keywords'])}",
        f"License-Expression: {project['license']}",
        *(f"License-File: {licence}" for licence in LICENCES),
        *(f"Classifier: {classifier}" for classifier in project["classifiers"]),
        f"Requires-Python: {project['requires-python']}",
        f"Requires-Dist: torch=={torch}",
        "Description-Content-Type: text/markdown",
    ]
    return "\n".join(lines) + "\n\n" + (ROOT / "docs/python.md").read_text()


def digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def read_project() -> dict:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads((PYTHON / "pyproject.toml").read_text())["project"]


def version_of_crate() -> str:
    """The crate's version as Python writes it: 0.2.0-rc.1 is 0.2.0rc1."""
    version = found_in("Cargo.toml", r'^version = "([^"]+)"')
    return re.sub(r"-(alpha|beta|rc)\.?(\d+)$", lambda m: {"alpha": "a", "beta": "b", "rc": "rc"}[m[1]] + m[2], version)


def found_in(file: str, pattern: str) -> str:
    found = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
    if not found:
        fail(f"{ROOT / file} has no line {pattern}")
    return found.group(1)


def fail(message: str):
    sys.exit(f"inverse-flow: {message}")
