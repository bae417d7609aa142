from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from accounts.models import ApiKey, Team
from gateway_project.lib.secrets.key_secret import is_generated

pytestmark = pytest.mark.django_db


def create(*args):
    out = StringIO()
    call_command("create_api_key", *args, stdout=out)
    return out.getvalue()


def test_the_key_stands_alone_on_stdout():
    printed = create("alice")
    assert printed.endswith("\n")
    assert is_generated(printed.strip())
    assert ApiKey.objects.get().hint == printed[:12]


def test_every_option_is_kept():
    create("ci", "--team", "core", "--rpm", "60", "--tpm", "9000", "--concurrency", "4", "--models", "a,b",
           "--expires", "30d", "--scopes", "metrics")  # fmt: skip
    key = ApiKey.objects.get()
    assert (key.team.name, key.rpm, key.tpm, key.concurrency) == ("core", 60, 9000, 4)
    assert (key.allowed_models, key.scopes) == ("a,b", "metrics")
    assert abs(key.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)


def test_budgets_networks_and_days_are_kept():
    create("ci", "--requests-day", "100", "--tokens-month", "9000000000", "--networks", "10.0.0.0/8",
           "--expires-after-days", "7")  # fmt: skip
    key = ApiKey.objects.get()
    assert (key.requests_day, key.tokens_month, key.requests_week) == (100, 9_000_000_000, 0)
    assert (key.allowed_networks, key.expires_after_days) == ("10.0.0.0/8", 7)


def test_an_expiry_may_be_a_date_or_hours():
    create("one", "--expires", "2096-12-31")
    create("two", "--expires", "12h")
    assert ApiKey.objects.get(name="one").expires_at == datetime(2096, 12, 31, tzinfo=UTC)
    assert ApiKey.objects.get(name="two").expires_at < timezone.now() + timedelta(hours=13)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["alice", "--expires", "soon"], "neither like 30d"),
        (["alice", "--expires", "2001-01-01"], "over already"),
        (["alice", "--expires", "0d"], "over already"),
        (["alice", "--rpm", "-1"], "rpm"),
        (["alice", "--rpm", "many"], "whole number"),
        (["alice", "--rpm", "2147483648"], "argument --rpm: '2147483648' is not a whole number from 0 to 2147483647"),
        ([" "], "blank"),
        (["n" * 101], "100 characters"),
        (["ali\u202ece"], "A name is of visible characters"),
        (["alice", "--models", "x" * 129], "at most 128 characters"),
        (["alice", "--models", ""], "names nothing"),
        (["alice", "--models", " , "], "names nothing"),
        (["alice", "--scopes", ""], "names nothing"),
        (["alice", "--team", " "], "names nothing"),
        (["alice", "--scopes", "metrics,everything"], "There is no scope everything. Known: metrics"),
        (["alice", "--expires", "999999w"], "later than any date"),
        (["alice", "--expires", "9999-12-31"], "later than any date"),
        (["alice", "--expires", "9999-12-31T23:59-14:00"], "later than any date"),
        (["alice", "--expires-after-days", "99999"], "At most 36500 days"),
        (["alice", "--expires-after-days", "0"], "days from 1"),
        (["alice", "--tokens-day", "-5"], "whole number"),
        (["alice", "--networks", "home"], "no address and no network"),
        (["alice", "--models", "!"], "missing behind the !"),
    ],
)
def test_invalid_arguments_are_refused_and_leave_nothing(args, said):
    with pytest.raises(CommandError, match=said):
        create(*args, "--team", "new")
    assert not ApiKey.objects.exists()
    assert not Team.objects.exists()


def test_team_is_found_by_name_or_refused():
    create("one", "--team", "core")
    create("two", "--team", " core ")
    assert [team.name for team in Team.objects.all()] == ["core"]
    with pytest.raises(CommandError, match="at most 100 characters"):
        create("three", "--team", "t" * 101)


@contextmanager
def another_command(statement, make, number=1):
    """Does this right before so many-th statement of that kind."""
    seen = []

    def counted(execute, sql, params, many, context):
        if sql.startswith(statement):
            seen.append(sql)
            if len(seen) == number:
                make()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(counted):
        yield
    assert len(seen) >= number


def test_team_that_two_make_at_once_is_one():
    # Behind the look for it, whose savepoint is the first, and outside of the second, as another transaction is.
    with another_command("SAVEPOINT", lambda: Team.objects.create(name="core"), number=2):
        create("alice", "--team", "core")
    assert [(key.name, key.team.name) for key in ApiKey.objects.all()] == [("alice", "core")]


def test_name_that_two_take_at_once_is_refused():
    with (
        pytest.raises(CommandError, match="A live key of this team has this name already"),
        another_command('INSERT INTO "accounts_apikey"', lambda: create("alice")),
    ):
        create("alice")


def test_a_live_name_is_refused():
    create("alice")
    create("alice", "--team", "core")  # another team is another name
    for team in ((), ("--team", "core")):
        with pytest.raises(CommandError, match="A live key of this team has this name already"):
            create("alice", *team)
