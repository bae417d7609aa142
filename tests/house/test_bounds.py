"""The table of what a peer can hold names tests that are there."""

import ast
import re
from pathlib import Path

from tests.house.tree import modules, text


def rows():
    section = text(Path("ARCHITECTURE.md")).partition("## What one peer can hold")[2].partition("\n## ")[0]
    table = [line.strip("|").split("|") for line in section.split("\n") if line.startswith("|")]
    return [row for row in table if row[-1].strip() not in {"tried by", "---"}]


def named_tests():
    trees = [ast.parse(text(path)) for path in modules("tests")]
    return {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_bound_names_a_test_that_is_there():
    there = named_tests() | {str(path) for path in modules("tests")}
    missing = [
        row[0].strip() for row in rows() if not (named := re.findall(r"`([^`]+)`", row[-1])) or set(named) - there
    ]
    assert len(rows()) > 15
    assert missing == []
