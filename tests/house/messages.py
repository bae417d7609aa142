"""
The catalogue of what people see: `make messages` brings `locale/` up to date with the code.

It holds our texts, those of unfold, which ships no translations, and those of django-celery-beat, whose own have gaps.
"""

import ast
import os
import re
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.core.management import call_command
from django.utils.translation.template import templatize

from gateway_project.env import BASE_DIR
from tests.house.tree import PACKAGES

LANGUAGE = "zh_Hans"
CATALOGUE = BASE_DIR / "locale" / LANGUAGE / "LC_MESSAGES" / "django.po"
TOOLS = ("xgettext", "msgmerge", "msgfmt", "msgattrib", "msguniq")
UNFOLD, BEAT = (Path(find_spec(name).submodule_search_locations[0]) for name in ("unfold", "django_celery_beat"))
ROOTS = {name: BASE_DIR / name for name in (*PACKAGES, "templates")} | {"unfold": UNFOLD, "django_celery_beat": BEAT}
MARKS = {"_", "gettext", "gettext_lazy", "gettext_noop"}
PLURAL_MARKS, CONTEXT_MARKS = {"ngettext", "ngettext_lazy"}, {"pgettext", "pgettext_lazy"}
STRING = r"""u?(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
CALL = re.compile(rf"\b(_|gettext|ngettext|pgettext|npgettext)\(({STRING}(?:,\s*{STRING})*)", re.DOTALL)


class Message(NamedTuple):
    """What identifies a text."""

    text: str
    plural: str = ""
    context: str = ""


class Entry(NamedTuple):
    """One of the catalogue."""

    message: Message
    translation: str
    fuzzy: bool


def is_used(place):
    """Whether people can see it: parts of unfold that are not installed have no pages here."""
    return place.parts[:2] != ("unfold", "contrib") or ".".join(place.parts[:3]) in settings.INSTALLED_APPS


def sources():
    """Every file that may have a text in it, and its place in a tree of all."""
    places = {
        path: Path(name) / path.relative_to(root)
        for name, root in ROOTS.items()
        for path in sorted(root.rglob("*"))
        if path.suffix in {".py", ".html"}
    }
    return {path: place for path, place in places.items() if is_used(place) and "migrations" not in place.parts}


def messages_of(path):
    """The marked texts of a module or a template."""
    if path.suffix == ".html":
        marked = templatize(path.read_text(encoding="utf-8"))
        for mark, strings in CALL.findall(marked):
            yield message(mark, ast.literal_eval(f"({strings},)"))
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and (mark := name_of(node.func)) in MARKS | PLURAL_MARKS | CONTEXT_MARKS:
            strings = [text for each in node.args if (text := text_of(each))]
            if strings:
                yield message(mark, strings)


def text_of(node):
    """A literal as xgettext reads it: an f-string with the sources of its values."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(each) for each in node.values)
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def name_of(function):
    return getattr(function, "id", getattr(function, "attr", ""))


def message(mark, strings):
    if mark in MARKS:
        return Message(strings[0])
    if mark in PLURAL_MARKS:
        return Message(strings[0], plural=strings[1])
    if mark in CONTEXT_MARKS:
        return Message(strings[1], context=strings[0])
    return Message(strings[1], plural=strings[2], context=strings[0])


def entries(catalogue=CATALOGUE):
    """The entries of a .po file with one form of plural, without its header; what is obsolete is a comment there."""
    for block in catalogue.read_text(encoding="utf-8").split("\n\n"):
        lines = block.splitlines()
        fields = {}
        for line in lines:
            if found := re.match(r'(msgctxt|msgid|msgid_plural|msgstr)(?:\[0\])? (?=")', line):
                name, line = found[1], line[found.end() :]
                fields[name] = ""
            if line.startswith('"'):
                fields[name] += ast.literal_eval(line)
        if fields.get("msgid"):
            identity = Message(fields["msgid"], fields.get("msgid_plural", ""), fields.get("msgctxt", ""))
            fuzzy = any(line.startswith("#,") and "fuzzy" in line for line in lines)
            yield Entry(identity, fields["msgstr"], fuzzy)


def update():
    """Write the catalogue anew from the code, and compile it."""
    CATALOGUE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        for path, place in sources().items():
            (Path(directory) / place).parent.mkdir(parents=True, exist_ok=True)
            (Path(directory) / place).symlink_to(path)
        os.chdir(directory)
        call_command(
            "makemessages", locale=[LANGUAGE], extensions=["py", "html"], no_obsolete=True, add_location="file",
        )  # fmt: skip
        os.chdir(BASE_DIR)
    call_command("compilemessages", locale=[LANGUAGE], ignore_patterns=[".*"], verbosity=0)


def main():
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        sys.exit(f"make messages needs GNU gettext (the package `gettext`): {', '.join(missing)} not found.")
    import django

    django.setup()
    update()
    open_ones = [each.message.text for each in entries() if each.fuzzy or not each.translation]
    print(f"{CATALOGUE.relative_to(BASE_DIR)}: {len(open_ones)} texts to translate", *open_ones, sep="\n  ")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    main()
