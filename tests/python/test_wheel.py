"""The wheel that scripts/wheel.sh makes, as it is installed, and the backend that packs it."""

import base64
import hashlib
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from unittest import mock

import inverse_flow
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = pathlib.Path(inverse_flow.__file__).resolve().parent
TORCH = torch.__version__.split("+")[0]
sys.path.insert(0, str(ROOT / "python/backend"))

import inverse_flow_wheel as backend
from elf import Library
from platform_tag import platform_tag


def crate_version():
    return re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)


def installed():
    """The distribution that the package comes from, if a wheel was installed."""
    try:
        found = importlib.metadata.distribution("inverse-flow")
    except importlib.metadata.PackageNotFoundError:
        return None
    return found if pathlib.Path(found.locate_file("inverse_flow")).resolve() == PACKAGE else None


@unittest.skipUnless(installed(), "no wheel is installed in this Python; scripts/test.sh python runs with one")
class Installed(unittest.TestCase):
    def setUp(self):
        self.wheel = installed()

    def read(self, name):
        return pathlib.Path(self.wheel.locate_file(name)).read_bytes()

    def test_the_package_and_its_library_are_those_of_the_wheel(self):
        self.assertFalse(PACKAGE.is_relative_to(ROOT / "python"))
        self.assertEqual(inverse_flow.library_path(), PACKAGE / "libinverse_flow.so")

    def test_it_demands_the_torch_that_it_is_made_for(self):
        self.assertEqual(self.wheel.requires, [f"torch=={TORCH}"])
        self.assertEqual(self.wheel.version, crate_version())
        self.assertEqual(self.wheel.metadata["License-Expression"], "MIT OR Apache-2.0")
        self.assertEqual(self.wheel.metadata["Requires-Python"], ">=3.10")
        for licence in self.wheel.metadata.get_all("License-File"):
            self.assertEqual(self.read(f"{self.wheel._path.name}/licenses/{licence}"), (ROOT / licence).read_bytes())

    def test_every_file_is_recorded(self):
        recorded = {str(file): file.hash for file in self.wheel.files}
        for name in ["__init__.py", "_corners.py", "_functorch.py", "_library.py", "layers.py", "libinverse_flow.so", "ops.py", "py.typed"]:
            content = self.read(f"inverse_flow/{name}")
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            self.assertEqual(recorded[f"inverse_flow/{name}"].value, digest, name)

    def test_the_library_asks_for_no_folder_and_no_newer_system_than_the_tag_says(self):
        library = Library(PACKAGE / "libinverse_flow.so")
        self.assertEqual(library.run_paths(), [])
        self.assertNotIn(b".symtab", library.bytes)
        tag = re.search(r"^Tag: py3-none-(\w+)$", self.wheel.read_text("WHEEL"), re.MULTILINE).group(1)
        glibc = re.fullmatch(r"manylinux_2_(\d+)_\w+", tag)
        self.assertTrue(glibc or tag.startswith("linux_"), tag)
        listing = subprocess.run(["readelf", "-W", "-V", library_file(self)], capture_output=True, text=True, check=True)
        minors = [int(minor) for minor in re.findall(r"Name: GLIBC_2\.(\d+)", listing.stdout)]
        self.assertGreater(len(minors), 3)
        if glibc:
            self.assertLessEqual(max(minors), int(glibc.group(1)))


def library_file(test):
    if not shutil.which("readelf"):
        test.skipTest("no readelf here")
    return str(PACKAGE / "libinverse_flow.so")


class Tag(unittest.TestCase):
    def test_the_tag_is_the_oldest_system_that_has_all_symbols(self):
        machine = os.uname().machine
        libc, libstdcxx, gcc = "libc.so.6", "libstdc++.so.6", "libgcc_s.so.1"
        for versions, expected in [
            ([], "manylinux_2_28"),
            ([(libc, "GLIBC_2.2.5"), (libc, "GLIBC_2.28")], "manylinux_2_28"),
            ([(libc, "GLIBC_2.29")], "manylinux_2_31"),
            ([(libc, "GLIBC_2.34"), (libstdcxx, "GLIBCXX_3.4.29")], "manylinux_2_34"),
            ([(libc, "GLIBC_2.17"), (libstdcxx, "GLIBCXX_3.4.30")], "manylinux_2_35"),
            ([(libstdcxx, "CXXABI_1.3.15")], "manylinux_2_39"),
            ([(gcc, "GCC_12.0.0")], "manylinux_2_35"),
            ([("libgomp.so.1", "OMP_9.0")], "manylinux_2_28"),
            ([(libc, "GLIBC_2.99")], "linux"),
            ([(libc, "GLIBC_PRIVATE")], "linux"),
            ([(libstdcxx, "OTHER_1.0")], "linux"),
        ]:
            self.assertEqual(platform_tag([libc, "libtorch_cpu.so"], versions), f"{expected}_{machine}", versions)
        self.assertEqual(platform_tag([libc, "libpng16.so.16"], []), f"linux_{machine}")


class Backend(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def build(self, library):
        with mock.patch.dict(os.environ, INVERSE_FLOW_LIBRARY=str(library)):
            return backend.build_wheel(self.folder)

    def test_the_same_build_gives_the_same_bytes(self):
        first = (self.folder / self.build(inverse_flow.library_path())).read_bytes()
        again = (self.folder / self.build(inverse_flow.library_path())).read_bytes()
        self.assertEqual(first, again)

    def test_the_folders_of_the_builder_are_taken_out(self):
        # of libtorch itself, which has some, and of which everything else must stay as it is
        library = Library(pathlib.Path(torch.__file__).parent / "lib/libc10.so")
        before = library.run_paths(), library.needed(), library.versions()
        self.assertTrue(before[0])
        library.remove_run_paths()
        changed = self.folder / "libc10.so"
        changed.write_bytes(library.bytes)
        self.assertEqual((Library(changed).run_paths(), Library(changed).needed(), Library(changed).versions()), ([], *before[1:]))

    def test_what_cannot_be_packed(self):
        other = self.folder / "other.so"
        with self.assertRaisesRegex(SystemExit, "other.so is not there: run `scripts/setup.sh && cargo build --release`"):
            self.build(other)
        shutil.copy(pathlib.Path(torch.__file__).parent / "lib/libc10.so", other)
        with self.assertRaisesRegex(SystemExit, "other.so is not the operator library"):
            self.build(other)
        other.write_text("no library")
        with self.assertRaisesRegex(SystemExit, "cannot strip .*other.so"):
            self.build(other)
        with self.assertRaisesRegex(SystemExit, "no source distribution"):
            backend.build_sdist(self.folder)

    def test_an_editable_wheel_is_a_path_and_the_same_demand(self):
        with zipfile.ZipFile(self.folder / backend.build_editable(self.folder)) as wheel:
            self.assertEqual(wheel.read("__editable__.inverse_flow.pth").decode().strip(), str(ROOT / "python"))
            self.assertIn(f"\nRequires-Dist: torch=={TORCH}\n", wheel.read(f"inverse_flow-{crate_version()}.dist-info/METADATA").decode())

    def test_versions_are_written_as_python_writes_them(self):
        for crate, python in [("1.2.3", "1.2.3"), ("1.2.3-rc.1", "1.2.3rc1"), ("1.2.3-alpha.2", "1.2.3a2"), ("1.0.0-beta3", "1.0.0b3")]:
            with mock.patch.object(backend, "found_in", return_value=crate):
                self.assertEqual(backend.version_of_crate(), python)


if __name__ == "__main__":
    unittest.main()
