"""TorchScript files that Rust has written, each time in a Python of its own: without anything of ours, and with the
operator library. What is checked is in `torchscript_checks.py`.

The Rust test `models` (tests/models/torchscript.rs) writes the files and what our side computes; where INVERSE_FLOW_SCRIPT_FILES names a folder
that has them already, as in scripts/test.sh, it is not run again.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import inverse_flow

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FILES = "INVERSE_FLOW_SCRIPT_FILES"


class TorchScript(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.environment = dict(os.environ)
        named = pathlib.Path(os.environ.get(FILES, ""))
        if FILES not in os.environ or not any(named.glob("*.safetensors")):
            folder = tempfile.TemporaryDirectory()
            cls.addClassCleanup(folder.cleanup)
            cls.environment[FILES] = folder.name
            command = ["cargo", "test", "--release", "--quiet", "--test", "models", "--"]
            command += ["torchscript::every_family", "torchscript_classes::every_family"]
            subprocess.run(command, cwd=ROOT, env=cls.environment, check=True, stdout=subprocess.DEVNULL)

    def check(self, *arguments):
        command = [sys.executable, str(HERE / "torchscript_checks.py"), *arguments]
        finished = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        self.assertEqual(finished.returncode, 0, finished.stderr)

    def test_files_are_programs_with_nothing_of_ours_installed(self):
        self.check("Portable", "Conditional")

    def test_files_with_operators_are_programs_with_the_operator_library(self):
        self.environment["INVERSE_FLOW_LIBRARY"] = str(inverse_flow.library_path())
        self.check("WithOperator")


if __name__ == "__main__":
    unittest.main()
