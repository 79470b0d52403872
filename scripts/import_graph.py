#!/usr/bin/env python3
"""Who imports whom in src/: prints every breach of the order of the layers and every circle, one a line.

    scripts/import_graph.py DIR            arrows against the order, circles between folders and between files
    scripts/import_graph.py DIR --edges    all arrows between folders, each with one place

An import is any path from `crate::`, from `super::` or into a module below, in `use` (grouped or not) or in code; comments,
and with them links of the documentation, do not count. Names that a module offers again lead to where they come from, and
code for tests counts between folders but not between files: a test may look at whatever it tests.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# Lowest first. A module imports from lower layers and, one way, from its own.
LAYERS = [
    ["error", "files", "phase", "words"],
    ["problem", "data", "weights", "plot"],
    ["ffi", "cuda"],
    ["autograd", "distributed", "ops", "torchscript"],
    ["nn"],
    ["flows"],
    ["distributions"],
    ["models"],
    ["train"],
    ["reproduce"],
    ["cli"],
]
# These stand beside the others: they need the first layer only, and only those that run things need them.
BESIDE = {"data", "weights", "plot"}
USERS_OF_BESIDE = {"train", "reproduce", "cli"}
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}

# comments, raw strings, strings and characters: all of them may hold what looks like code
NO_CODE = re.compile(r"//[^\n]*|/\*.*?\*/" r'|\br(#*)".*?"\1|"(?:\\.|[^"\\])*"' r"|'(?:\\[^\n]|[^'\\\n])'", re.S)
TESTS = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?(?:mod\s+\w+\s*)?(?:\{|use[^;]*;|fn[^{]*\{)")
USE = re.compile(r"(?:^|(?<=[\s;{}\]]))(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);")
PATH = re.compile(r"(?<![\w:])(\$?crate|super|self|[a-z_]\w*)((?:::\w+)+)")
INLINE = re.compile(r"\bmod\s+(\w+)\s*\{")


def blank(match: re.Match) -> str:
    """Nothing, on as many lines."""
    return re.sub(r"[^\n]", " ", match.group())


def closing(text: str, opening: int) -> int:
    """Where the brace at `opening` is closed."""
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at
    return len(text) - 1


def without_tests(text: str) -> str:
    while match := TESTS.search(text):
        end = match.end() - 1
        if text[end] == "{":
            end = closing(text, end)
        text = text[: match.start()] + re.sub(r"[^\n]", " ", text[match.start() : end + 1]) + text[end + 1 :]
    return text


def leaves(tree: str, prefix: tuple[str, ...] = ()):
    """The paths of a `use`, each with the name it is known by."""
    tree = tree.strip()
    if "{" in tree and tree.endswith("}"):
        head, inside = tree.split("{", 1)
        prefix += tuple(part for part in head.strip().split("::") if part)
        depth, start, inside = 0, 0, inside[:-1] + ","
        for at, char in enumerate(inside):
            depth += (char == "{") - (char == "}")
            if char == "," and depth == 0:
                if inside[start:at].strip():
                    yield from leaves(inside[start:at], prefix)
                start = at + 1
        return
    path, _, name = tree.partition(" as ")
    parts = prefix + tuple(part for part in path.strip().split("::") if part)
    if parts[-1:] == ("self",):
        parts = parts[:-1]
    if parts:
        yield parts, name.strip() or parts[-1]


class Tree:
    """The modules below src/, their texts and what they import."""

    def __init__(self, root: Path):
        self.files: dict[tuple[str, ...], Path] = {}
        for path in sorted((root / "src").rglob("*.rs")):
            parts = path.relative_to(root / "src").with_suffix("").parts
            if parts != ("main",):
                self.files[() if parts == ("lib",) else parts[:-1] if parts[-1] == "mod" else parts] = path
        self.root = root
        code = {m: NO_CODE.sub(blank, path.read_text()) for m, path in self.files.items()}
        self.all = {m: list(self.imports(m, text)) for m, text in code.items()}
        self.shipped = {m: list(self.imports(m, without_tests(text))) for m, text in code.items()}
        # what a module offers again, by name
        self.offered = {
            m: {name: path for path, name, public, _ in imports if public} for m, imports in self.shipped.items()
        }

    def imports(self, module, text):
        """(path from the root, name, whether it is offered again, line) of every import."""
        inline = [(m.start(), closing(text, m.end() - 1)) for m in INLINE.finditer(text)]
        children = {m[-1] for m in self.files if m and m[:-1] == module}

        def resolve(parts, at):
            depth = sum(1 for start, end in inline if start < at <= end)
            base = module + ("",) * depth
            first, rest = parts[0], parts[1:]
            if first in ("crate", "$crate"):
                return rest
            if first in ("super", "self"):
                if first == "super":
                    base = base[:-1]
                while rest and rest[0] == "super":
                    base, rest = base[:-1], rest[1:]
                return tuple(part for part in base if part) + rest
            return module + parts if first in children and depth == 0 else None

        line = lambda at: text.count("\n", 0, at) + 1
        for match in USE.finditer(text):
            for parts, name in leaves(match.group(2)):
                path = resolve(parts, match.start())
                if path:
                    yield path, name, bool(match.group(1)), line(match.start())
        for match in PATH.finditer(USE.sub(blank, text)):
            parts = (match.group(1), *match.group(2)[2:].split("::"))
            path = resolve(parts, match.start())
            if path:
                yield path, parts[-1], False, line(match.start())

    def target(self, path, seen=()):
        """The module that a path leads to, through names that are offered again."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.files:
                module, rest = path[:length], path[length:]
                again = self.offered[module].get(rest[0]) if rest else None
                if again and again not in seen:
                    return self.target(again + rest[1:], (*seen, again)) or module
                return module
        return ()

    def place(self, module, line):
        return f"{self.files[module].relative_to(self.root)}:{line}"

    def between_folders(self):
        edges: dict[tuple[str, str], str] = {}
        for module, imports in self.all.items():
            for path, _, _, line in imports:
                target = (self.target(path) or path)[:1]
                if module and target != module[:1] and (target in self.files or target[0] in RANK):
                    edges.setdefault((module[0], target[0]), self.place(module, line))
        return edges

    def between_files(self):
        edges: dict[tuple, str] = {}
        for module, imports in self.shipped.items():
            for path, _, public, line in imports:
                target = self.target(path)
                if module and target and target != module and not public:
                    edges.setdefault((module, target), self.place(module, line))
        return edges


def circles(edges):
    """Strongly connected components of more than one module (Tarjan)."""
    after: dict = {}
    for a, b in edges:
        after.setdefault(a, []).append(b)
        after.setdefault(b, [])
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in after[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(after):
        if node not in index:
            visit(node)
    return sorted(found)


def allowed(module, other):
    if module not in RANK or other not in RANK:
        return False
    if module in BESIDE:
        return RANK[other] == 0
    if other in BESIDE:
        return module in USERS_OF_BESIDE
    return RANK[other] <= RANK[module]


def report(what, edges) -> None:
    for circle in circles(edges):
        places = [place for (a, b), place in sorted(edges.items()) if a in circle and b in circle]
        names = [m if isinstance(m, str) else "::".join(m) for m in circle]
        print(f"a circle of {what}: {', '.join(names)}; imports at {', '.join(places)}")


def main() -> None:
    tree = Tree(Path(sys.argv[1]))
    folders = tree.between_folders()
    if "--edges" in sys.argv:
        for (module, other), place in sorted(folders.items()):
            print(f"{module} -> {other}  ({place})")
        return
    for module in sorted({m[0] for m in tree.files if m} - set(RANK)):
        print(f"src/{module} is in no layer of scripts/import_graph.py")
    for (module, other), place in sorted(folders.items()):
        if not allowed(module, other) and {module, other} <= set(RANK):
            print(f"src/{module} must not import crate::{other}: {place}")
    report("folders", folders)
    report("files", tree.between_files())


main()
