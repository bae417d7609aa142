"""All that an account can be, told by a service that runs: who is logged in anew, and who keeps what there is."""

import json

import pytest
from asgiref.sync import sync_to_async
from django.utils import translation

from accounts.alerts.words import sentence
from accounts.models import Alert
from bridge.alerts.checks import CHECKS
from bridge.alerts.view import AlertOptions, View
from bridge.fleet import login_refresh, mirror
from bridge.models import Instance, Login, LoginAttempt
from bridge.status.accounts import AccountState, Remedy
from gateway_project.lib.secrets.secrets_at_rest import Secret
from tests.bridge.fleet.test_logins import bring, fleet, give, stored, until_stored
from tests.bridge.pools import in_state

pytestmark = pytest.mark.django_db(transaction=True)
TOLD = {
    "logged_out": {"auth_status": 1}, "expired": {"auth_status": 3}, "error": {"auth_status": 4},
    "network_error": {"auth_status": 5}, "address_refused": {"auth_status": 6}, "app_disabled": {"auth_status": 7},
    "not_listed": {"whitelist": 1}, "waiting_for_approval": {"whitelist": 2}, "no_licence": {"whitelist": 5},
}  # fmt: skip
"""What a service says (PROTOCOL 7.1)."""
STATES = {Remedy.LOGIN: "login_required", Remedy.TIME: "degraded", Remedy.ADMINISTRATOR: "failed"}
KINDS = {Remedy.LOGIN: "login_needed", Remedy.TIME: "account_unreachable", Remedy.ADMINISTRATOR: "account_blocked"}
TIMES = {"lead_days": 365.0, "period_days": 0.0, "jitter_hours": 0.0}
"""By these every login is due at once."""


@sync_to_async
def alerts_of(statuses):
    """Kinds of alerts about instances, with what they say in English and Chinese."""
    mirror.record(statuses, login_refresh.timezone.now())
    view = View(login_refresh.timezone.now(), AlertOptions(), list(Instance.objects.all()), frozenset())
    said = {}
    for check in CHECKS:
        for subject, names in (check.find(view) or {}).items():
            if names:
                alert = Alert(kind=check.kind, subject=subject, facts=list(names), count=len(names))
                said[check.kind] = [_in(language, alert) for language in ("en", "zh-hans")]
    return said


def _in(language, alert):
    with translation.override(language):
        return sentence(alert)


@sync_to_async
def begun():
    """Whether the schedule has a login made anew; what it began is forgotten."""
    login_refresh.begin_due(TIMES)
    return bool(LoginAttempt.objects.all().delete()[0])


async def test_account_that_a_login_cures_begins_one(redis_server, tmp_path):
    login = await bring(tmp_path / "files")
    await Login.objects.filter(pk=login.pk).aupdate(kind="personal_token", credentials=Secret.of(b"pt-1"))
    await give(login, "w1-i1")
    async with fleet(redis_server, tmp_path / "w1") as pool:
        await in_state(pool, "ready")
        await until_stored(account="logged_in")
        before, pid = (await stored()).bundle.read(), pool.statuses()[0].pid
        for name, told in TOLD.items():
            account = AccountState(name)
            (tmp_path / "w1" / "simulator.json").write_text(json.dumps(told))
            pool.instances[0].login.wake()
            found = await until_stored(account=name)
            assert pool.statuses()[0].state == STATES[account.remedy]
            assert (found.generation, found.bundle.read()) == (1, before)
            assert await begun() is (account.remedy is Remedy.LOGIN)
            english, chinese = (await alerts_of(pool.statuses()))[KINDS[account.remedy]]
            if account.remedy is not Remedy.LOGIN:
                assert english.endswith(account.advice)
                assert account.advice not in chinese
        (tmp_path / "w1" / "simulator.json").write_text("{}")
        pool.instances[0].login.wake()
        await until_stored(account="logged_in", problem="")
        assert (pool.statuses()[0].state, pool.statuses()[0].pid) == ("ready", pid)
