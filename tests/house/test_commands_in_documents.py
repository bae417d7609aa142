"""Commands and settings in the documents are ones that there are."""

import argparse
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands, load_command_class

from gateway_project.env import BASE_DIR, SECRETS, Environment
from tests.house.tree import text

DOCUMENTS = sorted(
    str(path.relative_to(BASE_DIR))
    for pattern in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md", "docs/*.md", "docs/zh/*.md")
    for path in BASE_DIR.glob(pattern)
)
SETTING = re.compile(r"(?<![\w{<$./-])[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9](?![\w(./-])")
OF_CLIENTS = {"ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "LINGMA_GATEWAY_KEY", "OPENAI_API_BASE", "OPENAI_API_KEY"}
OF_OTHERS = {"DJANGO_SETTINGS_MODULE", "HYPOTHESIS_PROFILE", "LGW_TEST_DATABASE_URL"}
NO_SETTINGS = {"PR_SET_MM_MAP", "TAKING_TURNS"}


def codes(name):
    """Whatever is set as code; a line that goes on is one."""
    whole = text(Path(name))
    blocks = re.findall(r"^```\w*\n(.*?)^```$", whole, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```$", "", whole, flags=re.MULTILINE | re.DOTALL)
    spans = [" ".join(each.split()) for each in re.findall(r"`([^`]+)`", prose)]
    return spans + [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@cache
def compose_variables():
    return {name for path in (BASE_DIR / "docker").glob("compose.*.yaml")
            for name in re.findall(r"\$\{(\w+)", path.read_text())}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_settings_are_read_by_somebody(name):
    ours = {field.upper() for field in Environment.model_fields} | {f"{secret.upper()}_FILE" for secret in SECRETS}
    known = ours | compose_variables() | OF_CLIENTS | OF_OTHERS | NO_SETTINGS
    named = {word for code in codes(name) for word in SETTING.findall(code) if not word.startswith("OTEL_")}
    assert named - known == set()


def test_settings_are_looked_for_in_documents():
    named = {word for name in DOCUMENTS for code in codes(name) for word in SETTING.findall(code)}
    assert len(named & {field.upper() for field in Environment.model_fields}) > 40


@cache
def parts(command):
    """Options and sub-commands of a management command, those of its sub-commands too."""
    parser = load_command_class(get_commands()[command], command).create_parser("manage.py", command)
    options, words, parsers = set(), set(), [parser]
    while parsers:
        for action in parsers.pop()._actions:
            options |= set(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                words |= set(action.choices)
                parsers += action.choices.values()
    return options, words


def calls(name, program):
    """What follows a program's name, up to the end of its command."""
    for code in codes(name):
        for found in re.findall(rf"(?:^|[\s(/]){program}\s+([^|;&)#>]*)", code):
            yield [word for word in found.split() if word not in ("…", "...")]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_management_commands_have_these_options(name):
    for command, *words in (call for call in calls(name, r"manage\.py") if call):
        assert command in get_commands(), words
        options, _ = parts(command)
        asked = {word.strip("[]").partition("=")[0] for word in words if word.strip("[").startswith("--")}
        assert asked <= options, command


def test_commands_with_options_are_found_in_documents():
    found = {call[0] for name in DOCUMENTS for call in calls(name, r"manage\.py")
             if any(word.strip("[").startswith("--") for word in call)}  # fmt: skip
    assert {"create_api_key", "lingma_login", "maintenance_window"} <= found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_has_these_targets(name):
    targets = set(re.findall(r"^([a-z-]+):.*## ", text(Path("Makefile")), re.MULTILINE))
    asked = {call[0] for call in calls(name, "make") if call and re.fullmatch(r"[a-z-]+", call[0])}
    assert asked - targets == set()


def compose_calls():
    return [(name, call) for name in DOCUMENTS for call in calls(name, r"docker compose") if call]


def test_compose_is_told_which_file():
    for name, call in compose_calls():
        if call == ["up"]:  # the subject of a sentence
            continue
        assert call[0] == "-f", (name, call)
        assert (BASE_DIR / call[1]).is_file(), name


def test_compose_files_have_these_services():
    asked = []
    for name, (_, file, *words) in ((name, call) for name, call in compose_calls() if len(call) > 2):
        services = yaml.safe_load((BASE_DIR / file).read_text())["services"]
        plain = [word for word in words if not word.startswith("-")]
        verb = next((at for at, word in enumerate(plain) if word in ("exec", "logs", "run", "stop", "restart")), None)
        asked += [(name, file, plain[verb + 1])] if verb is not None else []
        profiles = {each for service in services.values() for each in service.get("profiles", [])}
        given = {words[at + 1] for at, word in enumerate(words) if word == "--profile"}
        assert given <= profiles, name
        asked += [(name, file, word.partition("=")[0]) for word in plain if re.fullmatch(r"[a-z-]+=\d+", word)]
    assert len(asked) > 5
    found = {file: set(yaml.safe_load((BASE_DIR / file).read_text())["services"]) for _, file, _ in asked}
    assert [each for each in asked if each[2] not in found[each[1]]] == []
