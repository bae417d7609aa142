"""What our commands say when they cannot do what they are asked."""

import io
import os
import subprocess
import sys

import pytest
from django.core.management import call_command, get_commands, load_command_class
from django.core.management.base import CommandError
from django.db import OperationalError, connection

from gateway_project.lib.commands import GatewayCommand

OURS = sorted(
    name
    for name, app in get_commands().items()
    if app in ("accounts", "bridge", "gateway_project") and isinstance(load_command_class(app, name), GatewayCommand)
)

ARGUMENTS = {
    "create_api_key": ["alice"],
    "create_api_token": ["ann"],
    "lingma_login": ["main"],
    "prune_usage": [],
    "rebuild_usage": ["--from", "2026-11-01", "--to", "2026-11-02"],
    "reconcile_usage": [],
    "remove_second_factors": ["ann"],
    "rotate_secrets": [],
    "seed_demo": ["--rows", "10"],
}


@pytest.mark.parametrize("name", OURS)
def test_unknown_option_is_one_line(name, capsys):
    command = load_command_class(get_commands()[name], name)
    with pytest.raises(SystemExit) as left:
        command.run_from_argv(["manage.py", name, "--no-such-option"])
    said = capsys.readouterr()
    assert left.value.code == 1
    assert said.out == ""
    assert said.err.startswith("CommandError: ")
    assert said.err.count("\n") == 1


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_database_that_is_away_is_one_line(name):
    def away(*_):
        raise OperationalError("connection refused\nIs the server running?")

    with connection.execute_wrapper(away), pytest.raises(CommandError) as told:
        call_command(name, *ARGUMENTS[name], skip_checks=True)
    assert str(told.value) == "The database cannot be used: connection refused Is the server running?"


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["create_api_token", "lingma_login", "remove_second_factors"])
def test_name_in_another_encoding_is_one_line(name):
    """As a terminal of Latin-1 sends it."""
    with pytest.raises(CommandError) as told:
        call_command(name, "caf\udce9", skip_checks=True)
    assert str(told.value) == r"'\udce9' cannot be written as utf-8"


class BrokenOff(GatewayCommand):
    def handle(self, *args, **options):
        raise KeyboardInterrupt


def test_command_that_is_broken_off_says_so(capsys):
    with pytest.raises(SystemExit) as left:
        BrokenOff().run_from_argv(["manage.py", "broken_off", "--skip-checks"])
    assert (left.value.code, capsys.readouterr().err) == (130, "cancelled\n")


MUCH = """
from gateway_project.lib.commands import GatewayCommand
class Much(GatewayCommand):
    def handle(self, *args, **options):
        for _ in range(100_000):
            self.stdout.write("x" * 99)
Much().run_from_argv(["manage.py", "much", "--skip-checks"])
"""


def test_command_that_nobody_reads_says_so(tmp_path):
    """As with `| head -1`."""
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "gateway_project.settings", "DATA_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", MUCH], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as much:
        assert much.stdout.readline() == b"x" * 99 + b"\n"
        much.stdout.close()
        said = much.stderr.read()
        much.wait(60)
    assert (much.returncode, said) == (1, b"CommandError: nobody reads the output any more, so this was broken off\n")


class Screen(io.StringIO):
    def isatty(self):
        return True


class Names(GatewayCommand):
    def handle(self, *args, **options):
        self.stdout.write("\x1b]0;title\x07of a\tkey\n名称")
        self.stderr.write("\u202eof a team")


@pytest.mark.parametrize("options", [{}, {"no_color": True}, {"force_color": True}], ids=str)
@pytest.mark.parametrize(
    ("screen", "said", "troubles"),
    [
        (Screen, "\\x1b]0;title\\x07of a\tkey\n名称\n", "\\u202eof a team\n"),
        (io.StringIO, "\x1b]0;title\x07of a\tkey\n名称\n", "\u202eof a team\n"),
    ],
)
def test_terminal_gets_no_escapes_of_others(screen, said, troubles, options):
    out, err = screen(), screen()
    command = Names(stdout=out, stderr=err)
    call_command(command, skip_checks=True, **options)
    # Its own colours are around it.
    assert out.getvalue() == said
    assert troubles.rstrip() in err.getvalue()
    assert ("\u202e" in err.getvalue()) == (screen is not Screen)
