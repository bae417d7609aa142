"""Every text that people see is marked, and has a translation."""

import ast
import gettext
import re
from html.parser import HTMLParser
from pathlib import Path

import django
import pytest
from django.apps import apps
from django.contrib import admin
from django.utils.functional import Promise

from gateway_project.env import BASE_DIR
from tests.house import messages
from tests.house.tree import PACKAGES, files, modules, text, tree

PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w*\}|<[^>]+>|%s")
WORDS = re.compile(r"[A-Za-z]{2,}[,;:.]? [A-Za-z]|\s[A-Za-z]{2,}[.!?]?$|^[A-Z][a-z]+[.!?]?$")
TECHNICAL = re.compile(r"<|gw-|[a-z]+\.[a-z_]+|oklch|json_each|[a-z]+-[a-z]+ ")
ALLOWED = {
    "Lingma Gateway", "Lingma", "OpenAI", "Anthropic", "LangChain", "Claude Code", "Codex", "Cline",  # names
    "Cache-Control", "Retry-After", "Entry", "Usage", "ms",
    "Lax", "Strict", "selected", "private, no-store", "text/csv; charset=utf-8",  # of HTTP and HTML
    'attachment; filename="usage-', 'attachment; filename="showback-',
    "YYYY-MM-DD HH24:MI", "to_char(%(expressions)s AT TIME ZONE 'UTC', '",  # of PostgreSQL
    "a value out of range in the address",  # into the log
    # Into the database, where they stay in one language.
    "Revoked.", "Paused.", "Resumed.", "Rotated.", "Moved to another team.", "Limits set.", "Extended.", "Changed.",
    "Put in quarantine.",
    "Reads a text file and returns its content.",  # a model reads these two
    "Runs a command in a shell and returns what it prints.",
}  # fmt: skip
ALL_MARKS = messages.MARKS | messages.PLURAL_MARKS | messages.CONTEXT_MARKS
WORD = re.compile("[a-z]{2,}")  # names of settings are in capitals
LABELS = {
    "description", "empty_hint", "empty_title", "help_text", "index_title", "label", "search_help_text", "title",
    "verbose_name", "verbose_name_plural", "violation_error_message",
}  # fmt: skip
SEEN = (
    "admin",
    "models",
    "pages",
    "explain",
    "reports",
    "words.py",
    "admin.py",
    "models.py",
    "apps.py",
    "admin_theme.py",
    "trouble.py",
    "live_rows.py",
    "cells.py",
)


def screens():
    """Modules whose literals people see."""
    return [path for path in modules(*PACKAGES) if set(SEEN) & set(path.parts[1:]) and "wire" not in path.parts]


def test_marked_texts_and_catalogue_are_the_same():
    marked = {each for path in messages.sources() for each in messages.messages_of(path)}
    listed = {each.message for each in messages.entries()}
    assert (marked - listed, listed - marked) == (set(), set()), "run `make messages`, and translate what is new"


def test_catalogue_names_files_that_are_there():
    lines = messages.CATALOGUE.read_text(encoding="utf-8").splitlines()
    named = {place for line in lines if line.startswith("#: ") for place in line[3:].split()}
    ours = [place for place in named if place.split("/")[0] in {*PACKAGES, "templates"}]
    assert len(ours) > 100
    assert [place for place in ours if not (BASE_DIR / place).is_file()] == [], "run `make messages`"


def test_every_text_is_translated():
    assert [each.message.text for each in messages.entries() if each.fuzzy or not each.translation] == []


def test_translations_have_the_placeholders_of_their_texts():
    for each in messages.entries():
        there = set(PLACEHOLDER.findall(each.translation))
        assert there in (set(PLACEHOLDER.findall(each.message.text)), set(PLACEHOLDER.findall(each.message.plural)))


@pytest.mark.parametrize("domain", ["django", "djangojs"])
def test_compiled_catalogue_says_what_its_source_says(domain):
    source = messages.CATALOGUE.with_name(f"{domain}.po")
    with source.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    listed = list(messages.entries(source))
    for (one, plural, context), translation, _ in listed:
        key = f"{context}\x04{one}" if context else one
        said = compiled.ngettext(key, plural, 1) if plural else compiled.gettext(key)
        assert said == translation, "run `make messages`"
    assert len(compiled._catalog) == len(listed) + 1  # and the header


def test_translated_sentences_end_as_chinese_does():
    assert [
        each.translation for each in messages.entries() if re.search(r"[一-鿿][,;:!?.](\s|$)", each.translation)
    ] == []


def is_mark(node):
    return isinstance(node, ast.Call) and messages.name_of(node.func) in ALL_MARKS


def names_given(node):
    return [node.arg] if isinstance(node, ast.keyword) else map(messages.name_of, node.targets)


def unmarked_in(module):
    """Literals that are words, or given as labels, in no call of a mark; docstrings are for those who read the code."""
    silent, labels = set(), set()
    for node in ast.walk(module):
        if is_mark(node):
            silent |= {id(inner) for inner in ast.walk(node)}
        elif isinstance(node, ast.Expr):
            silent.add(id(node.value))
        elif isinstance(node, ast.keyword | ast.Assign) and LABELS & set(names_given(node)):
            labels.add(id(node.value))
    for node in ast.walk(module):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in silent:
            continue
        if id(node) in labels or (WORDS.search(node.value) and not TECHNICAL.search(node.value)):
            yield node.lineno, node.value.strip()


def test_literals_of_screens_are_marked():
    assert len(screens()) > 20
    found = [(str(path), *each) for path in screens() for each in unmarked_in(tree(path)) if each[1] not in ALLOWED]
    assert found == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('title = "state"', ["state"]),
        ('title = _("state")', []),
        ('display(description="Key")', ["Key"]),
        ('messages.info(request, "Nothing to revoke.")', ["Nothing to revoke."]),
        ('messages.info(request, gettext("Nothing to revoke."))', []),
        ('f"{time} ago"', ["ago"]),
        ('"admin/accounts/overview.html"', []),
    ],
)
def test_scan_finds_what_is_not_marked(code, found):
    assert [text for _, text in unmarked_in(ast.parse(f"x = ({code})" if " = " not in code else code))] == found


class Unmarked(HTMLParser):
    """The words of a template that stand outside of its tags."""

    SHOWN = ("title", "placeholder", "aria-label", "alt", "data-done", "data-failed")
    MARKED = re.compile(r"{% blocktrans.*?{% endblocktrans(late)? %}|{#.*?#}|{%.*?%}|{{.*?}}", re.DOTALL)
    SILENT = ("style", "script", "code")

    def __init__(self, template):
        super().__init__()
        self.found, self._silent = [], []
        self.feed(self.MARKED.sub("", template))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        icon = "material-symbols-outlined" in (attributes.get("class") or "")
        if tag in self.SILENT or icon:
            self._silent.append(tag)
        self.found += [attributes[name] for name in self.SHOWN if WORD.search(attributes.get(name) or "")]

    def handle_endtag(self, tag):
        if self._silent and self._silent[-1] == tag:
            self._silent.pop()

    def handle_data(self, data):
        if not self._silent and WORD.search(data):
            self.found.append(data.strip())


ALLOWED_IN_TEMPLATES = {"Lingma Gateway", "· Lingma Gateway", "· Lingma Gateway ·", "claude-sonnet-4-5"}


def test_words_of_templates_are_marked():
    pages = [path for path in files() if path.suffix == ".html"]
    assert len(pages) > 15
    found = {str(path): set(Unmarked(text(path)).found) - ALLOWED_IN_TEMPLATES for path in pages}
    assert {page: words for page, words in found.items() if words} == {}


def test_scan_finds_words_of_a_template():
    marked = '<p title="{% translate "Old" %}">{% blocktranslate %}a b{% endblocktranslate %}</p>'
    template = marked + '<p alt="new">left over {{ x }}</p>'
    assert Unmarked(template).found == ["new", "left over"]


def test_script_of_the_console_has_no_words():
    """It takes them from the attributes of what it changes."""
    script = (BASE_DIR / "accounts/static/accounts/copy.js").read_text(encoding="utf-8")
    assert re.findall(r'"[A-Z][a-z]+[^"]*"', script) == []


OUR_APPS = ("accounts", "bridge", "sessions_store")
OUR_MODELS = [model for app in OUR_APPS for model in apps.get_app_config(app).get_models()]


@pytest.mark.parametrize("model", OUR_MODELS, ids=lambda model: model.__name__)
def test_labels_of_models_are_translated_lazily(model):
    """In the language of whoever looks, not of whoever started the process."""
    named = [model._meta.verbose_name, model._meta.verbose_name_plural]
    for field in model._meta.concrete_fields:
        if field.name != "id":
            named += [field.verbose_name, *([field.help_text] if field.help_text else [])]
    assert [label for label in named if not isinstance(label, Promise)] == []


@pytest.mark.parametrize("model", [each for each in OUR_MODELS if admin.site.is_registered(each)], ids=str)
def test_labels_of_pages_are_translated_lazily(model, rf):
    page = admin.site.get_model_admin(model)
    named = [
        getattr(page, name) for name in ("empty_title", "empty_hint", "search_help_text") if getattr(page, name, None)
    ]
    named += [title for title, _ in getattr(page, "sections", page.fieldsets) or () if title]
    for name in (*page.list_display, *page.readonly_fields, *page.actions):
        method = getattr(page, name, None)
        named += [method.short_description] if hasattr(method, "short_description") else []
    assert [label for label in named if not isinstance(label, Promise)] == []


SCRIPTS = sorted((Path(django.__file__).parent / "contrib/admin/static/admin/js").glob("*.js"))


def texts_of_scripts():
    for script in SCRIPTS:
        for mark, strings in messages.CALL.findall(script.read_text(encoding="utf-8")):
            yield messages.message(mark, ast.literal_eval(f"({strings},)"))


def test_each_text_of_scripts_has_one_translation():
    """Django's, or ours as long as it has none, or the English one."""
    own = {each.message for each in messages.entries(messages.CATALOGUE.with_name("djangojs.po"))}
    path = Path(django.__file__).parent / "contrib/admin/locale/zh_Hans/LC_MESSAGES/djangojs.po"
    theirs = {
        each.message._replace(plural="")
        for each in messages.entries(path)
        if each.translation not in {"", each.message.text} and not each.fuzzy
    }
    used = {each._replace(plural="") for each in texts_of_scripts()}
    assert len(used) > 20
    assert (used - theirs - own, own - used, own & theirs) == (set(), set(), set())
