"""Logins of Lingma as the doctor sees them."""

from datetime import timedelta

import pytest
from django.utils import timezone, translation
from django.utils.translation import gettext

from bridge.doctor import logins
from bridge.fleet.login_refresh import begin_due
from bridge.models import InstanceOrder, Login, LoginAttempt
from bridge.status.accounts import AccountState, Remedy
from gateway_project.lib.secrets.secrets_at_rest import Secret

pytestmark = pytest.mark.django_db


@pytest.fixture
def found(installed, findings):
    def found(*heartbeats):
        state = installed()
        state.database_answers = state.redis_answers = True
        state.heartbeats = list(heartbeats)
        return findings(logins.logins, state)

    return found


def a_login(**columns):
    days = columns.pop("ends_in", 90)
    ends = timezone.now() + timedelta(days=days)
    return Login.objects.create(
        **{"label": "main", "generation": 1, "account": "logged_in", "expires_at": ends, **columns}
    )


def test_installation_without_stored_logins_is_well(found):
    assert found() == [("ok", "none is stored: each instance has that of its own work directory")]


def test_login_that_is_well_says_its_end(found):
    InstanceOrder.objects.create(name="w1-i1", login=a_login())
    [(level, text)] = found()
    assert level == "ok"
    assert text.startswith("main: logged in, it ends at 20")
    assert "no instance has it" not in text


def test_login_of_no_instance_says_so(found):
    a_login()
    assert found()[0][1].endswith("no instance has it")


@pytest.mark.parametrize(
    ("columns", "level", "words"),
    [
        ({"problem": "unreadable"}, "fail", "SECRET_KEYS"),
        ({"generation": 0}, "warn", "Log it in on its page"),
        ({"account": "no_licence"}, "fail", "has to give it a licence"),
        ({"account": "expired"}, "fail", "Log it in on its page"),
        ({"account": "network_error"}, "warn", "Check the network"),
        ({"ends_in": 1}, "warn", "nothing makes it again by itself"),
    ],
    ids=["unreadable", "no files", "administrator", "expired", "network", "ends soon"],
)
def test_trouble_of_a_login_is_told(found, columns, level, words):
    a_login(**columns)
    [(said, text)] = found()
    assert said == level
    assert words in text


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("account", [each for each in AccountState if each.advice])
def test_each_state_of_an_account_says_what_helps(found, account, language):
    a_login(account=account)
    with translation.override(language):
        [(level, text)] = found()
        assert gettext(account.label) in text
        if account.remedy is not Remedy.LOGIN:
            assert gettext(account.advice) in text
        # Nobody is told to log in where that would not help.
        assert ("lingma_login" in text) is (account.remedy is Remedy.LOGIN)
    assert level == ("warn" if account.remedy is Remedy.TIME else "fail")
    assert (account.label in text) is (language == "en")


def test_lost_one_with_credentials_is_tried_again(found):
    a_login(account="expired", kind="personal_token", credentials=Secret.of(b"pt"), failures=1)
    [(level, text)] = found()
    assert level == "fail"
    assert "It is tried again by itself" in text


def test_lost_one_without_known_end_is_tried(found):
    login = a_login(account="logged_out", kind="ak_sk", credentials=Secret.of(b"ak"), expires_at=None)
    [(_, text)] = found()
    assert "It is tried again by itself" in text
    begin_due({})
    assert LoginAttempt.objects.get().login == login


def test_three_failures_leave_it_to_a_person(found):
    a_login(kind="personal_token", credentials=Secret.of(b"pt"), failures=3)
    [(level, text)] = found()
    assert level == "warn"
    assert "3 attempts to log in failed in a row Log it in on its page" in text


@pytest.mark.parametrize(("days", "level"), [(1, "warn"), (90, "ok")])
def test_instance_with_a_login_of_its_own(found, status, days, level):
    ends = timezone.now() + timedelta(days=days)
    assert found(status(login_expires_at=ends.timestamp()))[-1][0] == level


def test_instance_with_a_stored_login_adds_no_line(found, status):
    assert len(found(status(login_expires_at=timezone.now().timestamp(), held_login=1))) == 1


def test_missing_login_worker_is_told(found):
    ended = timezone.now() - timedelta(minutes=3)
    LoginAttempt.objects.create(
        login=a_login(), way="ak_sk", reason="schedule", state="failed", result="no_worker", generation=1,
        begun_at=ended - timedelta(minutes=2), ended_at=ended,
    )  # fmt: skip
    [_, (level, text)] = found()
    assert level == "fail"
    assert text.startswith("main: no login worker took the log-in See whether it runs")
