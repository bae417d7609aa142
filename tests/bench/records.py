"""What is kept of a run: the tables of the documents, and the ratios that `--check` compares with."""

import json
from pathlib import Path

from tests.bench.targets import ROOT

READMES = (ROOT / "README.md", ROOT / "docs" / "zh" / "README.md")
PERFORMANCE = ROOT / "docs" / "performance.md"
RATIOS = Path(__file__).with_name("ratios.json")


def _cut(name, page):
    """(all before, what stands between the two marks of this name, all after); the marks belong to their sides."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    head, found, rest = page.read_text().partition(begin)
    section, ended, tail = rest.partition(end)
    if not found or not ended:
        raise SystemExit(f"{page} has no marks {begin.strip()} and {end}")
    return head + begin, section, end + tail


def read_section(name, page=PERFORMANCE):
    return _cut(name, page)[1]


def write_section(name, text, page=PERFORMANCE):
    head, _, tail = _cut(name, page)
    page.write_text(f"{head}\n{text}\n\n{tail}")


def write_ratios(found, machine, path=RATIOS):
    """Keep these; those of rows that were not measured stay as they were."""
    kept = read_ratios(path) | found
    path.write_text(json.dumps({"machine": machine, "ratios": dict(sorted(kept.items()))}, indent=1) + "\n")


def read_ratios(path=RATIOS):
    """title -> ours ÷ bare, of the last run that was kept; empty when none was."""
    return json.loads(path.read_text())["ratios"] if path.exists() else {}
