"""Commands and settings in the documents are ones that there are."""

import argparse
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands, load_command_class
from opentelemetry import environment_variables as of_traces
from opentelemetry.sdk import environment_variables as of_the_sdk

from gateway_project.env import BASE_DIR, SECRETS, Environment
from gateway_project.supervise import programs
from tests.house.tree import files, text

DOCUMENTS = sorted(
    str(path.relative_to(BASE_DIR))
    for pattern in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md", "docs/*.md", "docs/zh/*.md")
    for path in BASE_DIR.glob(pattern)
)
SETTING = re.compile(r"(?<![\w{<$./-])[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9](?![\w(./-])")
OF_CLIENTS = {"ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "LINGMA_GATEWAY_KEY", "OPENAI_API_BASE", "OPENAI_API_KEY"}
OF_OTHERS = {"DJANGO_SETTINGS_MODULE", "HYPOTHESIS_PROFILE", "LGW_TEST_DATABASE_URL"}
NO_SETTINGS = {"PR_SET_MM_MAP", "TAKING_TURNS"}
OF_TRACES = {name for module in (of_traces, of_the_sdk) for name in vars(module) if name.startswith("OTEL_")}
MADE = ("docker/.env", "docker/secrets")
"""What an operator writes, or `docker/make-secrets`."""


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
    known = ours | compose_variables() | OF_CLIENTS | OF_OTHERS | NO_SETTINGS | OF_TRACES
    named = {word for code in codes(name) for word in SETTING.findall(code)}
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


def misplaced(command, words):
    """Those of its words that a management command would refuse: no choice of its own, or one too many."""
    parser = load_command_class(get_commands()[command], command).create_parser("manage.py", command)
    left, wrong, words = positionals(parser), [], iter(words)
    for word in (each.strip("[]") for each in words):
        if word == "<":  # the shell's
            break
        if word.startswith("-"):
            option, _, value = word.partition("=")
            action = parser._option_string_actions.get(option)
            takes = action is not None and action.nargs != 0
            given = value or (next(words, "").strip("[]") if takes else "")
            wrong += [given] if takes and unknown(action, given) else []
            continue
        wrong += [word] if not left or unknown(left[0], word) else []
        if left and isinstance(left[0], argparse._SubParsersAction):
            parser = left[0].choices.get(word, parser)
            left = positionals(parser)
        elif left and left[0].nargs not in ("*", "+"):
            left = left[1:]
    return wrong


def unknown(action, word):
    return action.choices is not None and word not in action.choices


def positionals(parser):
    return [action for action in parser._actions if not action.option_strings]


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


@pytest.mark.parametrize("name", DOCUMENTS)
def test_management_commands_take_these_words(name):
    wrong = [(command, misplaced(command, words))
             for command, *words in (call for call in calls(name, r"manage\.py") if call)]  # fmt: skip
    assert [each for each in wrong if each[1]] == []


def test_words_that_a_command_refuses_are_seen():
    assert misplaced("pool", ["drian", "NAME"]) == ["drian"]
    assert misplaced("pool", ["drain", "NAME"]) == []
    assert misplaced("pool", ["move", "NAME", "--version", "V"]) == []
    assert misplaced("create_api_key", ["alice", "bob", "--team", "first"]) == ["bob"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_supervisor_is_told_programs_there_are(name):
    asked = {word for call in calls(name, r"gateway_project\.supervise") for word in call}
    assert asked - programs.ALL - {programs.PREPARE} == set()


def test_supervisor_is_looked_for_in_documents():
    asked = {word for name in DOCUMENTS for call in calls(name, r"gateway_project\.supervise") for word in call}
    assert {"prepare", "web"} <= asked


def paths(name):
    """Words of code that begin with a folder of ours."""
    folders = {path.parts[0] for path in files() if len(path.parts) > 1}
    words = {word for code in codes(name) for word in re.findall(r"(?<![\w/.:~$<=-])(?:[\w.-]+/)+[\w.-]+", code)}
    return {word for word in words if word.partition("/")[0] in folders and not word.startswith(MADE)}


def is_there(word):
    """A file, a folder, a module without its ending, or what is in a module."""
    names = (word, f"{word}.py", f"{word.rpartition('.')[0]}.py")
    return any((BASE_DIR / name).exists() for name in names)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_in_code_are_there(name):
    assert {word for word in paths(name) if not is_there(word)} == set()


def test_paths_are_looked_for_in_documents():
    assert len({word for name in DOCUMENTS for word in paths(name)}) > 100
    assert not is_there("docker/compose.half.yaml")


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
