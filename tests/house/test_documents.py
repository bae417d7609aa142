"""The documents say what is there."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from gateway_project.env import BASE_DIR, Environment
from tests.house import clients, options
from tests.house.test_bounds import named_tests
from tests.house.tree import PACKAGES, files, modules, text, tree

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
def test_lines_of_documents_are_not_too_long(name):
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


DECISIONS = text(Path("ARCHITECTURE.md")).partition("\n## Decisions\n")[2].split("\n### ")


def test_each_decision_is_listed_once():
    listed = re.findall(r"\[([^]]+)\]\(#", DECISIONS[0])
    assert sorted(listed) == sorted(each.partition("\n")[0].partition(": ")[2] for each in DECISIONS[1:])


@pytest.mark.parametrize("decision", DECISIONS[1:], ids=lambda decision: decision.partition("\n")[0])
def test_decision_has_its_date_and_price(decision):
    assert re.match(r"\d{4}-\d\d-\d\d: ", decision)
    assert "Price: " in " ".join(decision.split())


MODULE = r"`(?P<path>[a-z_]+(?:/[a-z_0-9]+)+)(?:\.py)?(?P<names>(?:\.[A-Za-z_]+)*)`"
BRACKETS = r"\((`[\w.]+`(?:,\s+`[\w.]+`)*)\)"
WALKS = text(Path("ARCHITECTURE.md")).partition("\n## Six walks\n")[2].partition("\n## ")[0].split("\n**")[1:]


def home(name):
    """Where a path has no package in front, it is in `bridge/`."""
    return BASE_DIR / ("" if name.split("/")[0] in PACKAGES else "bridge") / name


@cache
def defined(module):
    """What a module, or one of a folder, gives a name to."""
    paths = [path] if (path := home(module).with_suffix(".py")).exists() else home(module).glob("*.py")
    nodes = [node for path in paths for node in ast.walk(tree(path))]
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)} | {
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def test_walks_name_modules_that_are_there():
    named = [each["path"] for walk in WALKS for each in re.finditer(rf"(?<!RPC ){MODULE}", walk)]
    assert len(named) > 50
    assert [name for name in named if not list(home(name).parent.glob(f"{home(name).name}*"))] == []


def named_with(walk):
    """Pairs of a module and a name that stands behind it: after a dot, in brackets, or as `name` of `module`."""
    for each in re.finditer(rf"(?<!RPC ){MODULE}(?:\s+{BRACKETS})?", walk):
        for name in re.findall(r"[A-Za-z_]+", each["names"]) + re.findall(r"`(\w+)`", each[3] or ""):
            yield each["path"], name
    for each in re.finditer(rf"`(\w+)`\s+of\s+{MODULE}", walk):
        yield each["path"], each[1]


def test_walks_name_what_their_modules_define():
    named = {pair for walk in WALKS for pair in named_with(walk)}
    assert len(named) > 40
    assert {(module, name) for module, name in named if name not in defined(module)} == set()


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.partition("*")[0])
def test_names_in_brackets_are_defined_in_the_walk(walk):
    modules = {each["path"] for each in re.finditer(rf"(?<!RPC ){MODULE}", walk)}
    named = {name for names in re.findall(BRACKETS, walk) for name in re.findall(r"`(?:\w+\.)?([A-Za-z_]+)`", names)}
    assert named - set().union(*map(defined, modules)) == set()
