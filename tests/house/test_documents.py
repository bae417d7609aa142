"""The documents say what is there."""

import re
from pathlib import Path

import pytest

from gateway_project.env import Environment
from tests.house.tree import PACKAGES, files, modules, text

UNMAPPED = {"__init__", "__main__", "apps"}


def shown(default):
    """A default as the documents spell it."""
    if hasattr(default, "get_secret_value"):
        default = default.get_secret_value()
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Path):
        return f"./{default}"
    if isinstance(default, list | dict):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


VARIABLES = {name.upper(): shown(field.default) for name, field in Environment.model_fields.items()}


@pytest.mark.parametrize("name", VARIABLES)
def test_readme_lists_every_variable_with_its_default(name):
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", text(Path("README.md")), re.MULTILINE))
    default = VARIABLES[name]
    assert rows.get(name) == (f"`{default}`" if default else "empty")


def test_readme_lists_no_variable_that_is_not_read():
    section = text(Path("README.md")).partition("## Environment")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(VARIABLES)


def test_the_example_environment_lists_every_variable():
    listed = dict(re.findall(r"^# ?([A-Z0-9_]+)=(.*)$", text(Path(".env.example")), re.MULTILINE))
    assert listed == VARIABLES


def drawn_map():
    return text(Path("ARCHITECTURE.md")).split("```")[1]


def test_the_map_names_every_package_and_none_that_is_gone():
    drawn = set(re.findall(r"([a-z0-9_]+)/", drawn_map()))
    there = {part for path in modules(*PACKAGES) for part in path.parts[:-1]} - {"management", "commands"}
    anywhere = {part for path in files() for part in path.parts[:-1]}
    assert there <= drawn <= anywhere
