"""Names, notes and assertions."""

import ast
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from tests.house.tree import PACKAGES, files, functions, modules, source, text, tree

VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}
NOTE_WITHOUT_ISSUE = re.compile(r"\b(TODO|FIXME|XXX)\b(?!.*#\d)")
HOME_OR_REGISTRY = re.compile(
    r"/(home|Users)/\w+/|/roo[t]/\w|pypi[.]org|pythonhosted[.]org|npmjs[.]org|index[-]url\s*="
)
MOST_WORDS = 8
NO_SUBJECT = re.compile(
    r"test_(after|again|also|although|always|as|at|because|before|behind|below|beside|between|beyond|but|by|can|"
    r"cannot|could|does|during|even|ever|for|from|had|has|have|here|how|if|in|is|it|its|just|may|might|more|"
    r"most|much|must|never|no|nobody|none|nor|not|nothing|of|often|on|only|or|over|should|since|so|than|that|"
    r"then|there|these|they|those|to|too|under|unless|until|upon|was|we|were|what|whatever|when|where|whether|"
    r"which|while|who|whoever|whose|why|will|with|within|without|would|yet)_"
)
"""First words of a name that leave open who or what it is about."""
MADE_UP = {"generate", "uuid4", "token_hex", "token_urlsafe"}
MAY_READ_SETTINGS = {"runtime", "tasks", "checks", "apps", "admin", "api", "pages", "login", "views", "urls"}


def asserts(node):
    match node:
        case ast.Assert():
            return True
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name in {"raises", "warns", "fail"} or "assert" in name
        case _:
            return False


def test_a_module_is_named_after_its_subject():
    assert [path for path in [*source(), *modules("tests")] if path.stem in VAGUE] == []


def test_a_note_to_do_something_names_its_issue():
    noted = [
        f"{path}:{number}"
        for path in files()
        if path.suffix in {".py", ".md", ".html", ".toml"} and path.parts[:2] != ("tests", "house")
        for number, line in enumerate(text(path).splitlines(), 1)
        if NOTE_WITHOUT_ISSUE.search(line)
    ]
    assert noted == []


def test_every_test_asserts_something():
    silent = [
        f"{path}:{function.lineno} {function.name}"
        for path in modules("tests")
        if path.stem.startswith("test_")
        for function in functions(path)
        if function.name.startswith("test_") and not any(asserts(node) for node in ast.walk(function))
    ]
    assert silent == []


def test_test_names_have_at_most_eight_words():
    """So that a list of names can be read."""
    long = [
        f"{path}:{function.lineno} {function.name}"
        for path in modules("tests")
        for function in functions(path)
        if function.name.startswith("test_") and function.name.count("_") > MOST_WORDS
    ]
    assert long == []


def test_test_names_begin_with_their_subject():
    """Who or what first, then what becomes of it, so that a list of names can be searched."""
    nameless = [
        f"{path}:{function.lineno} {function.name}"
        for path in modules("tests")
        for function in functions(path)
        if NO_SUBJECT.match(function.name)
    ]
    assert nameless == []


def test_parameters_of_tests_are_always_the_same():
    """Workers compare the names of all tests: with something made up among the parameters none of them begins."""
    made_up = [
        f"{path}:{call.lineno} {ast.unparse(call)}"
        for path in modules("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.parametrize")
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] in MADE_UP
        and not any(each.arg == "ids" for each in node.keywords)
    ]  # fmt: skip
    assert made_up == []


def test_module_docstring_is_there():
    silent = [path for path in source() if text(path).strip() and not ast.get_docstring(tree(path))]
    assert silent == []


def test_home_directories_and_registries_are_not_named():
    named = [
        f"{path}:{number}"
        for path in files()
        if path.suffix != ".lock" and path.parts[:2] != ("tests", "house")
        for number, line in enumerate(text(path).splitlines(), 1)
        if HOME_OR_REGISTRY.search(line)
    ]
    assert named == []


def imports_settings(path):
    return any(
        isinstance(node, ast.ImportFrom)
        and (node.module == "django.conf" and any(alias.name == "settings" for alias in node.names))
        for node in ast.walk(tree(path))
    )


def test_settings_are_read_by_composing_modules_alone():
    readers = [
        path
        for path in modules(*PACKAGES)
        if path.parts[0] != "gateway_project"
        and not {path.stem, path.parent.name} & MAY_READ_SETTINGS
        and "management" not in path.parts
        and imports_settings(path)
    ]
    assert readers == []


def test_every_name_in_redis_stands_in_one_table():
    """What lies there, for how long, who writes and who reads it."""
    named = [path for path in source() if path.name not in {"redis_keys.py", "redaction.py"} and "lgw:" in text(path)]
    assert named == []


TABLE = Path("gateway_project/lib/redis/redis_keys.py")
KEYS = {
    node.target.id: description.value.value
    for node, description in pairwise(tree(TABLE).body)
    if isinstance(node, ast.AnnAssign) and "lgw:" in ast.unparse(node.value) and isinstance(description, ast.Expr)
}
"""The names in Redis, and what stands below each."""
PATTERN = {"EVERYTHING"}


def test_every_name_in_redis_is_described():
    named = set(re.findall(r'^([A-Z_]+): Final = .*"lgw:', text(TABLE), re.MULTILINE))
    assert len(named) > 30
    assert named == KEYS.keys()


@pytest.mark.parametrize("name", sorted(KEYS.keys() - PATTERN))
def test_name_in_redis_has_writer_and_reader(name):
    assert re.search(r"\b([Ww]ritten|Published)\b", KEYS[name])
    assert re.search(r"\b([Rr]ead|subscribe|ask)\b", KEYS[name])


def test_migrations_of_an_app_are_one_row():
    """Two that were written at the same time have the same number, and the same one before them."""
    paths = [path for path in files() if "migrations" in path.parts and path.name[:4].isdecimal()]
    numbers = Counter((path.parts[0], path.name[:4]) for path in paths)
    assert len(numbers) > 30
    assert [number for number, count in numbers.items() if count > 1] == []
