"""The documents say what is there."""

import re
import tomllib
from pathlib import Path

import pytest

from gateway_project.env import BASE_DIR, Environment
from tests.house import clients, options
from tests.house.test_bounds import named_tests
from tests.house.tree import PACKAGES, files, modules, text

UNMAPPED = {"__init__", "__main__", "apps"}


VARIABLES = {name.upper(): options.shown(field.default) for name, field in Environment.model_fields.items()}
WIDEST = 120
WRAPPED = (
    "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "OPTIONS.md", "SECURITY.md",
    *(f"docs/{path.name}" for path in sorted((BASE_DIR / "docs").glob("*.md")) if path.name != "clients.md"),
    "bridge/lingma/PROTOCOL.md", "bridge/wire/FORMATS.md",
)  # fmt: skip
# Chinese has no blanks to wrap at: a paragraph is a line.
LINKED = (
    *WRAPPED,
    "docs/clients.md",
    *(f"docs/zh/{path.name}" for path in sorted((BASE_DIR / "docs/zh").glob("*.md"))),
)


def test_the_options_are_those_of_the_environment():
    assert text(options.TARGET) == options.page(), "run `make options`"


@pytest.mark.parametrize("page", clients.PAGES, ids=str)
def test_the_clients_are_those_of_the_console(page):
    assert text(page) == clients.page(page), "run `make options`"


def test_readme_names_no_variable_that_is_not_read():
    section = text(Path("README.md")).partition("## Environment")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([A-Z0-9_]+)` \|", section, re.MULTILINE))
    assert named
    assert named <= set(VARIABLES)


@pytest.mark.parametrize("name", WRAPPED)
def test_no_line_of_a_document_is_too_long(name):
    """Rows of tables and lines of an event stream cannot be split."""
    lines = enumerate(text(Path(name)).splitlines(), 1)
    assert [at for at, line in lines if len(line) > WIDEST and not line.startswith(("|", "data: "))] == []


@pytest.mark.parametrize("name", WRAPPED[:4])
def test_document_says_nothing_twice(name):
    """A merge that keeps both sides leaves a paragraph twice."""
    lines = [line for line in text(Path(name)).splitlines() if len(line) > 60 and not line.startswith("|")]
    assert [line for line in set(lines) if lines.count(line) > 1] == []


def anchors(path):
    """What links to the headings of a document name, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", LINKED)
def test_links_of_the_documents_lead_somewhere(name):
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?[^)]*\)", text(Path(name)))
    there = {link: (BASE_DIR / name).parent / link if link else BASE_DIR / name for link, _ in links}
    assert [link for link, path in there.items() if not path.exists()] == []
    assert [(link, anchor) for link, anchor in links if anchor and anchor not in anchors(there[link])] == []


def test_recipes_name_files_that_are_there():
    named = re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|md|in|yaml|html|toml))`", text(Path("CONTRIBUTING.md")))
    assert len(named) > 20
    assert [name for name in named if not (BASE_DIR / name).exists()] == []


@pytest.mark.parametrize("page", ["bridge/lingma/PROTOCOL.md", "bridge/wire/FORMATS.md"])
def test_protocol_pages_name_files_that_exist(page):
    named = re.findall(r"`(bridge/[\w./-]+)`", text(Path(page)))
    assert named
    assert [name for name in named if not (BASE_DIR / name).exists()] == []


def test_the_example_environment_lists_every_variable():
    listed = dict(re.findall(r"^# ?([A-Z0-9_]+)=(.*)$", text(Path(".env.example")), re.MULTILINE))
    assert listed == VARIABLES


def drawn_map():
    return text(Path("ARCHITECTURE.md")).split("```")[1]


def test_map_names_each_package_and_no_other():
    drawn = set(re.findall(r"([a-z0-9_]+)/", drawn_map()))
    there = {part for path in modules(*PACKAGES) for part in path.parts[:-1]} - {"management", "commands"}
    anywhere = {part for path in files() for part in path.parts[:-1]}
    assert there <= drawn <= anywhere


def layers(lines):
    """Rooms that are independent, from the highest layer to the lowest; `→` or a line is a step."""
    return [set(re.findall(r"\w+", line)) for line in lines]


@pytest.mark.parametrize("contract", ["apps", "rooms"])
def test_directions_are_those_of_the_contracts(contract):
    section = text(Path("ARCHITECTURE.md")).partition("**Directions**")[2].partition("**Processes.**")[0]
    drawn = {"apps": re.search(r"`(bridge → .*?)`", section)[1].split("→"), "rooms": section.split("```")[1].split("→")}
    contracts = tomllib.loads(text(Path("pyproject.toml")))["tool"]["importlinter"]["contracts"]
    held = next(each["layers"] for each in contracts if each["id"] == contract)
    assert layers(drawn[contract]) == layers(held)


def test_every_promise_names_a_test_that_is_there():
    table = text(Path("SECURITY.md")).partition("## What is promised")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ")][1:]
    named = [(promise, re.findall(r"`(test_\w+)`", tests)) for promise, tests in rows]
    assert len(named) > 15
    there = named_tests()
    assert [promise for promise, tests in named if set(tests) - there] == []
    assert [promise for promise, tests in named[:-1] if not tests] == []


def walks():
    return text(Path("ARCHITECTURE.md")).partition("\n## Five walks\n")[2].partition("\n## ")[0]


def test_walks_name_modules_that_are_there():
    """Where a path has no package in front, it is in `bridge/`; a name behind a dot is in the file."""
    named = re.findall(r"(?<!RPC )`([a-z_]+(?:/[a-z_0-9]+)+)(?:\.[A-Za-z_]+)*`", walks())
    assert len(named) > 50
    here = {name: ["", "bridge/"][name.split("/")[0] not in PACKAGES] + name for name in named}
    assert [name for name, path in here.items() if not list(BASE_DIR.glob(f"{path}*"))] == []
