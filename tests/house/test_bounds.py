"""The tables of what a peer can hold and of what is waited for name tests that are there."""

import re
from pathlib import Path

import pytest

from tests.house.tree import PACKAGES, functions, modules, text


def rows(heading):
    section = text(Path("ARCHITECTURE.md")).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line.strip("|").split("|") for line in section.split("\n") if line.startswith("|")]
    return [row for row in table if row[-1].strip() not in {"tried by", "---"}]


def named_tests():
    return {function.name for path in modules("tests") for function in functions(path)}


@pytest.mark.parametrize("heading", ["What one peer can hold", "What is waited for"])
def test_every_bound_names_a_test_that_is_there(heading):
    there = named_tests() | {str(path) for path in modules("tests")}
    missing = [
        row[0].strip()
        for row in rows(heading)
        if not (named := re.findall(r"`([^`]+)`", row[-1])) or set(named) - there
    ]
    assert len(rows(heading)) > 15
    assert missing == []


@pytest.mark.parametrize("heading", ["What one peer can hold", "What is waited for"])
def test_every_bound_names_a_module_that_is_there(heading):
    paths = [f"/{path}" for path in modules(*PACKAGES)]
    there = {path.removesuffix(".py").rpartition("/")[2] for path in paths} | {"pool/"}
    named = {name for row in rows(heading) for name in re.findall(r"`([a-z_0-9/]+(?:\.py)?/?)`", row[-2])}
    missing = [name for name in named if name not in there and not any(path.endswith(f"/{name}") for path in paths)]
    assert named
    assert missing == []
