"""The platform tag of a wheel, from what the library in it needs."""

from __future__ import annotations

import platform
from collections.abc import Iterable

# For each glibc the newest symbols of libstdc++ and libgcc on all distributions that have it: the policies of auditwheel 6,
# from the glibc on that torch's own wheels need. A library that needs newer symbols is for machines like this one.
_POLICIES = [
    # glibc, GLIBCXX, CXXABI, GCC
    ("2.28", "3.4.24", "1.3.11", "7.0.0"),
    ("2.31", "3.4.28", "1.3.12", "7.0.0"),
    ("2.34", "3.4.29", "1.3.13", "7.0.0"),
    ("2.35", "3.4.30", "1.3.13", "12.0.0"),
    ("2.36", "3.4.30", "1.3.13", "12.0.0"),
    ("2.38", "3.4.30", "1.3.13", "12.0.0"),
    ("2.39", "3.4.33", "1.3.15", "14.0.0"),
    ("2.40", "3.4.33", "1.3.15", "14.0.0"),
    ("2.41", "3.4.33", "1.3.15", "14.0.0"),
]
_COLUMNS = {"GLIBC": 0, "GLIBCXX": 1, "CXXABI": 2, "GCC": 3}
# every distribution has these, in the versions above
_OF_THE_SYSTEM = {"libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libgcc_s.so.1", "libstdc++.so.6"}
# the torch package has these in torch/lib and loads them before the library
_OF_TORCH = {"libtorch.so", "libtorch_cpu.so", "libc10.so", "libgomp.so.1"}


def platform_tag(needed: Iterable[str], versions: Iterable[tuple[str, str]]) -> str:
    """``manylinux_2_34_x86_64``, or ``linux_x86_64`` where more cannot be promised.

    Args:
        needed: the libraries that it is linked with.
        versions: library and version of the symbols that it takes from them.
    """
    machine = platform.machine()
    foreign = [n for n in needed if n not in _OF_THE_SYSTEM | _OF_TORCH and not n.startswith("ld-linux")]
    if foreign:
        return f"linux_{machine}"
    wanted = []
    for library, version in versions:
        family, _, number = version.partition("_")
        if library in _OF_TORCH:
            continue
        if family not in _COLUMNS or not number.replace(".", "").isdigit():
            return f"linux_{machine}"  # GLIBC_PRIVATE, and what is not known here
        wanted.append((_COLUMNS[family], _parts(number)))
    for row in _POLICIES:
        if all(number <= _parts(row[column]) for column, number in wanted):
            return f"manylinux_{row[0].replace('.', '_')}_{machine}"
    return f"linux_{machine}"


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
