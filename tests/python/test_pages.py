"""The scripts that look after the documentation: every kind of breach is found, and the tables are those of the reports."""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "# Title\n\n[index](docs/README.md#pages) and `docs/one.md`\n",
    "docs/README.md": "# Pages\n\n[one](one.md)\n",
    "docs/one.md": "# One\n\n```text\n[nothing](nowhere.md) `src/gone.rs`\n```\n\n`runs/first` and `src/*.rs`\n",
    "docs/results/x/report.md": "`src/gone.rs`\n",
    "ARCHITECTURE.md": "# A\n\n## The way of a batch\n\n1. `src/lib.rs`\n\n## Else\n\n`src/lib.rs`\n",
    "CHANGELOG.md": "`src/gone.rs` left\n",
    "src/lib.rs": "",
}


def checked(changes):
    """What check_docs.py says of the pages with some of them changed."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {**PAGES, **changes}.items():
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        command = [sys.executable, str(ROOT / "scripts/check_docs.py"), folder]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


class CheckDocs(unittest.TestCase):
    def test_pages_in_order_pass(self):
        self.assertEqual(checked({})[0], 0, checked({})[1])

    def test_every_breach_is_found(self):
        index = PAGES["docs/README.md"]
        for changes, expected in [
            ({"docs/one.md": "[two](two.md)\n"}, "docs/one.md:1: a link to two.md, which is not there"),
            ({"docs/one.md": "\n[a](README.md#nothing)\n"}, "docs/one.md:2: a link to README.md#nothing, and that page has no such title"),
            ({"docs/one.md": "`src/gone.rs`\n"}, "docs/one.md:1: `src/gone.rs` is not there"),
            ({"docs/one.md": "`cargo run src/gone/*.rs`\n"}, "`src/gone/*.rs` is not there"),
            ({"ARCHITECTURE.md": "```text\nsrc/gone.rs\n```\n"}, "ARCHITECTURE.md: src/gone.rs is not there"),
            ({"ARCHITECTURE.md": "## The way of x\n`src/lib.rs` `src/lib.rs`\n"}, "The way of x: src/lib.rs comes twice"),
            ({"README.md": "line\n" * 151}, "README.md: 151 lines, at most 150"),
            ({"docs/two.md": "# Two\n"}, "docs/README.md: two.md is not in the index"),
            ({"docs/README.md": index + "`docs/one.md` `docs/`, `docs/gone/`\n"}, "`docs/gone/` is not there"),
        ]:
            with self.subTest(expected):
                code, output = checked(changes)
                self.assertEqual(code, 1, output)
                self.assertIn(expected, output)
                self.assertIn("check_docs.py: 1 breaches", output)


class ResultsPage(unittest.TestCase):
    def run_in(self, root, *arguments):
        command = [sys.executable, str(root / "scripts/results_page.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def test_the_paper_is_named_only_beside_rows_that_it_has(self):
        def row(name, basis):
            cell = {"paper": 1.5, "measured": 2.5, "spread": None, "verdict": "x", "basis": basis}
            return {"row": name, "status": "done", "notes": [], "cells": {"bpd": cell}}

        rows = [row("snf", "y"), row("snf-harness", "the paper has no row on this backbone")]
        report = {"table": "table3", "title": "T", "hardware": "h", "commit": "c", "budget": "b", "budget_name": "short", "clamp": False}
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "docs/results/run").mkdir(parents=True)
            (root / "scripts").mkdir()
            shutil.copy(ROOT / "scripts/results_page.py", root / "scripts")
            page, file = root / "docs/results.md", root / "docs/results/run/report.json"
            shutil.copy(ROOT / "docs/results.md", page)
            file.write_text(json.dumps({**report, "rows": rows}))
            self.assertEqual(self.run_in(root, "--check")[0], 1)
            self.assertEqual(self.run_in(root)[0], 0)
            self.assertEqual(self.run_in(root, "--check")[0], 0)
            self.assertIn("| snf | 2.5 (paper 1.5) |", page.read_text())
            self.assertIn("| snf-harness | 2.5 |", page.read_text())
            file.write_text(json.dumps({**report, "budget_name": "smoke", "rows": rows}))
            self.assertIn("a smoke run measures nothing", self.run_in(root)[1])


if __name__ == "__main__":
    unittest.main()
