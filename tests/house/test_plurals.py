"""Numbers with nouns: "1 turns" and "0 minutes" are nowhere to be read."""

import ast
import re

import pytest

from gateway_project.env import BASE_DIR
from tests.house.tree import modules

CATALOGUE = BASE_DIR / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
NOUNS = (
    "accounts|addresses|attempts|bytes|calls|changes|characters|days|errors|failures|files|hours|images|instances|keys|"
    "logins|machines|messages|minutes|models|months|names|networks|patterns|people|places|processes|prompts|refusals|"
    "requests|rows|seconds|secrets|sessions|settings|sums|tables|teams|times|tokens|tools|turns|users|versions|weeks"
)
BETWEEN = r"(?!of |takes |with )(?:\w+ )?"
COUNTED = re.compile(rf"%\((\w+)\)[ds] {BETWEEN}({NOUNS})\b")
IN_CODE = re.compile(rf"\{{(?![A-Z_]+\}})[^{{}}]+\}} {BETWEEN}({NOUNS})\b")

NEVER_ONE = {
    "At most %(most)d keys at once.": "it is 500",
    "At most %(days)d days.": "it is 90",
    "At most %(most)d networks.": "it is 64",
    "At most %(most)d names or patterns.": "it is 64",
    "At most %(most)d names at once, not %(count)d.": "it is 3",
    "A name or pattern has at most %(most)d characters.": "it is 128",
    "It needs a start, at most %(most)d weeks ago.": "it is 53",
    "A login has at most %(mib)d MiB and %(files)d files.": "a login has several files",
    "%(count)d instances, %(first)s and %(last)s": "two",
    "%(count)d instances, %(first)s to %(last)s": "more than two",
    "From 1 to %(most)d instances (LINGMA_INSTANCES_MAX).": "a range",
    "the VSIX holds more than the %(count)d files allowed here": "thousands",
    "The template is too long: %(length)d characters, %(most)d are allowed.": "thousands",
    "%(sent)s characters were sent instead of %(whole)s.": "a prompt of ours is longer than a character",
    "The whole conversation of %(whole)s characters was sent, in a text of %(sent)s.": "the same",
    "This row stands for %(count)s refusals of this kind within a minute; what follows is of the first.":
        "shown from two on",
    "An image: %(type)s, %(size)s bytes": "no image is so small",
    "Live keys without a turn for %(days)s days: %(count)s": "it is 30",
}  # fmt: skip
"""Texts that say a number without a form for one, and why there is none."""


def texts():
    """All texts of the catalogue that have one form."""
    for block in CATALOGUE.read_text().split("\n\n"):
        if "msgid_plural" not in block and (found := re.search(r'^msgid ((?:".*"\n?)+)', block, re.MULTILINE)):
            yield "".join(ast.literal_eval(line) for line in found[1].strip().split("\n"))


def test_numbers_of_pages_have_a_form_for_one():
    counted = {text for text in texts() if COUNTED.search(text)}
    assert counted - NEVER_ONE.keys() == set()
    assert NEVER_ONE.keys() - counted == set()


@pytest.mark.parametrize("package", ["accounts", "bridge", "gateway_project"])
def test_numbers_of_commands_have_a_form_for_one(package):
    found = [
        f"{path}: {line.strip()}"
        for path in modules(package)
        if "commands" in path.parts
        for line in (BASE_DIR / path).read_text().splitlines()
        if IN_CODE.search(line) and "counted(" not in line
    ]
    assert found == []
