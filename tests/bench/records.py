"""What is kept of a run: the tables in the README, and the ratios that `--check` compares with."""

import json
from pathlib import Path

from tests.bench.targets import ROOT

README = ROOT / "README.md"
RATIOS = Path(__file__).with_name("ratios.json")


def write_section(name, text, page=README):
    """Put the text between the two markers of this name."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    head, found, rest = page.read_text().partition(begin)
    _, ended, tail = rest.partition(end)
    if not found or not ended:
        raise SystemExit(f"{page} has no marks {begin.strip()} and {end}")
    page.write_text(f"{head}{begin}\n{text}\n\n{end}{tail}")


def write_ratios(found, machine, path=RATIOS):
    """Keep these; those of rows that were not measured stay as they were."""
    kept = read_ratios(path) | found
    path.write_text(json.dumps({"machine": machine, "ratios": dict(sorted(kept.items()))}, indent=1) + "\n")


def read_ratios(path=RATIOS):
    """title -> ours ÷ bare, of the last run that was kept; empty when none was."""
    return json.loads(path.read_text())["ratios"] if path.exists() else {}
