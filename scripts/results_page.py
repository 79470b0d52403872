#!/usr/bin/env python3
"""Writes the tables of docs/results.md from docs/results/*/report.json.

    scripts/results_page.py           rewrites what stands between the two markers
    scripts/results_page.py --check   changes nothing; fails if the page is not what would be written

The folders are those that `inverse-flow reproduce ... --out docs/results/NAME` makes; runs of budget smoke say nothing
about a model and are refused. As long as there is none, the page stays as it is. Only the standard library is used.
"""

import json
import pathlib
import sys

BEGIN = "<!-- results: written by scripts/results_page.py from docs/results -->"
END = "<!-- results end -->"
ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results.md"
COLUMNS = [
    ("bpd", "BPD"),
    ("nll_nats", "NLL"),
    ("st_ms", "ST, ms"),
    ("ft_ms", "FT, ms"),
    ("params_m", "parameters, M"),
    ("memory_gb", "memory, GB"),
    ("memory_rebuilt_gb", "memory, activations rebuilt, GB"),
]


def number(value):
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def comparable(row):
    """Whether the paper has numbers of this row: it has none of the rows on the common backbone."""
    return all("no row on this backbone" not in cell["basis"] for cell in row["cells"].values())


def cell(row, key):
    """`measured ± spread (paper P)`, or why there is no number; without the paper's where it has no such row."""
    found = row["cells"].get(key)
    if found is None:
        return ""
    if found["measured"] is None:
        text = found["verdict"]
    else:
        text = number(found["measured"])
        if found["spread"] is not None:
            text += f" ± {number(found['spread'])}"
    return text if found["paper"] is None or not comparable(row) else f"{text} (paper {number(found['paper'])})"


def section(path):
    report = json.loads(path.read_text())
    for key in ("table", "title", "hardware", "commit", "budget", "rows"):
        if key not in report:
            sys.exit(f"{path}: no `{key}` in it: not a report of inverse-flow reproduce")
    if report["budget_name"] == "smoke":
        sys.exit(f"{path}: a smoke run measures nothing: keep it out of docs/results")
    printed = [(key, title) for key, title in COLUMNS if any(r["cells"].get(key, {}).get("paper") for r in report["rows"])]
    folder = path.parent.relative_to(PAGE.parent).as_posix()
    lines = [
        f"**{report['title']}.** {report['hardware']}, commit {report['commit']}; {report['budget']}. "
        f"Clamp {'on' if report['clamp'] else 'off'}. [The report]({folder}/report.md) has both protocols, every verdict and "
        "its basis.",
        "",
        "| row | " + " | ".join(title for _, title in printed) + " |",
        "|---|" + "---|" * len(printed),
    ]
    not_run = {}
    for row in report["rows"]:
        if row["status"] == "not run":
            not_run.setdefault(row["notes"][0].split(":")[0], []).append(row["row"])
        else:
            lines.append(f"| {row['row']} | " + " | ".join(cell(row, key) for key, _ in printed) + " |")
    if not_run:
        lines.append("")
    lines.extend(f"Not run: {', '.join(names)} ({reason})." for reason, names in not_run.items())
    return "\n".join(lines)


def main(arguments):
    check = arguments == ["--check"]
    if arguments and not check:
        sys.exit(__doc__)
    text = PAGE.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        sys.exit(f"docs/results.md: the markers `{BEGIN}` and `{END}` must be in it once each, in this order")
    reports = sorted((ROOT / "docs" / "results").glob("*/report.json"))
    if not reports:
        print("docs/results.md: no docs/results/*/report.json, the page stays as it is")
        return
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    body = "\n\n".join(section(path) for path in reports)
    wanted = f"{before}{BEGIN}\n\n{body}\n\n{END}{after}"
    if check and wanted != text:
        sys.exit("docs/results.md: the tables are not those of docs/results: run scripts/results_page.py")
    if not check:
        PAGE.write_text(wanted)
    print(f"docs/results.md: results of {', '.join(path.parent.name for path in reports)}")


if __name__ == "__main__":
    main(sys.argv[1:])
