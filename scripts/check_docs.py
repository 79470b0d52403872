#!/usr/bin/env python3
"""Checks the pages for people: every link and every path in backticks leads somewhere, README.md stays short, and every
page of docs/ is in its index.

    scripts/check_docs.py [DIR]    DIR holds README.md and docs/; the repository by default

In ARCHITECTURE.md the listings are checked too, and that the way of a batch and of a weight pass no file twice.
CHANGELOG.md is left out: it names what is gone. Only the standard library is used.
"""

import glob
import pathlib
import re
import sys

README_LINES = 150
# paths that a user's machine has or a run makes
MADE = ("data/", "target/", "runs/", ".venv/")


def is_there(root, folder, path):
    """Whether `path`, written in a page of `folder`, names a file or folder, or is a pattern that matches some."""
    return any(glob.glob(str(base / path), recursive=True) for base in (folder, root))


def anchors(page):
    """What can come after `#` in a link to the page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def without_listings(text):
    """The text with its fenced blocks empty, line numbers unchanged."""
    return re.sub(r"^```.*?^```$", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)


def broken_links(page, line):
    for target in re.findall(r"\]\(([^)\s]+)\)", line):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        if not linked.exists():
            yield f"a link to {target}, which is not there"
        elif anchor and anchor not in anchors(linked):
            yield f"a link to {target}, and that page has no such title"


def missing_paths(root, page, line):
    top = {path.name for path in root.iterdir()}
    for word in (word for quoted in re.findall(r"`([^`]+)`", line) for word in quoted.split()):
        placeholder = re.search(r"[<>$]|\.\.\.|[A-Z]{4,}", word) and not word.endswith(".md")
        if "/" not in word or word.split("/")[0] not in top or word.startswith(MADE) or placeholder:
            continue
        if not is_there(root, page.parent, word.rstrip(",.:")):
            yield f"`{word}` is not there"


def visited_twice(text):
    """Files that a section "The way of ..." names twice."""
    for title, body in re.findall(r"^## (The way of .*)\n([\s\S]*?)(?=^## |\Z)", text, re.MULTILINE):
        files = re.findall(r"`((?:src|kernels)/[^`]+)`", body)
        for file in sorted({file for file in files if files.count(file) > 1}):
            yield f"{title}: {file} comes twice"


def breaches(root):
    pages = sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])
    for page in pages:
        # reports are written by the program, at the commit that they name
        if page.name in ("CHANGELOG.md", "report.md"):
            continue
        name = page.relative_to(root)
        for number, line in enumerate(without_listings(page.read_text()).splitlines(), 1):
            for what in [*broken_links(page, line), *missing_paths(root, page, line)]:
                yield f"{name}:{number}: {what}"
        if page.name == "ARCHITECTURE.md":
            listings = "".join(re.findall(r"^```.*?^```$", page.read_text(), re.DOTALL | re.MULTILINE))
            for path in re.findall(r"(?:src|kernels|tests|scripts|python|docs)/[\w./*-]*\w", listings):
                if not is_there(root, root, path):
                    yield f"{name}: {path} is not there"
            yield from (f"{name}: {what}" for what in visited_twice(page.read_text()))
    lines = len((root / "README.md").read_text().splitlines())
    if lines > README_LINES:
        yield f"README.md: {lines} lines, at most {README_LINES}"
    index = (root / "docs" / "README.md").read_text()
    for page in sorted(root.glob("docs/*.md")):
        if page.name != "README.md" and f"({page.name})" not in index:
            yield f"docs/README.md: {page.name} is not in the index"


def main(arguments):
    if len(arguments) > 1 or any(a.startswith("-") for a in arguments):
        sys.exit(__doc__)
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).resolve().parent.parent)
    found = list(breaches(root))
    for breach in found:
        print(breach, file=sys.stderr)
    if found:
        sys.exit(f"check_docs.py: {len(found)} breaches")
    print("check_docs.py: every link and path leads somewhere")


if __name__ == "__main__":
    main(sys.argv[1:])
