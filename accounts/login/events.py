"""Log-ins, log-outs and failures, as rows of the audit log and as log lines. None has what somebody typed."""

from __future__ import annotations

import logging
from typing import Any, Final

from allauth.account.signals import user_logged_in
from allauth.mfa.signals import authentication_failed
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_out, user_login_failed
from django.db import DatabaseError

from accounts.audit.entries import record
from accounts.login.waits import address_of
from gateway_project.lib.address_share import share_of
from gateway_project.lib.attempts import counted
from gateway_project.lib.redis import redis_keys

logger = logging.getLogger(__name__)

LOGGED_IN: Final = "logged_in"
LOGGED_OUT: Final = "logged_out"
FAILED: Final = "login_failed"
WINDOW_SEC: Final = 3600
MOST_ROWS: Final = 60
"""Rows about failures in an hour. After that only each tenth, hundredth, … of all failures gets one."""


def connect() -> None:
    """Called once all apps are loaded, and does nothing the second time."""
    user_logged_in.connect(_logged_in, dispatch_uid="accounts.logged_in")
    user_logged_out.connect(_logged_out, dispatch_uid="accounts.logged_out")
    user_login_failed.connect(_password_failed, dispatch_uid="accounts.login_failed")
    authentication_failed.connect(_factor_failed, dispatch_uid="accounts.factor_failed")


def _logged_in(request: Any, user: User, **_: Any) -> None:
    # allauth calls every second factor "mfa", and names its kind beside it.
    methods = [each.get("type", each["method"]) for each in request.session.get("account_authentication_methods", ())]
    _write(LOGGED_IN, user, {"by": [None, ", ".join(methods)]})


def _logged_out(request: Any, user: User | None, **_: Any) -> None:
    if user is not None:
        _write(LOGGED_OUT, user, {})


def _password_failed(credentials: dict[str, Any], request: Any = None, **_: Any) -> None:
    # The row says whose log-in it was, but only if there is such a user: what was typed may be a password.
    user = User.objects.filter(username=credentials.get("username")).first()
    failed(request, user, "password")


def _factor_failed(request: Any, user: User, authenticator: Any, **_: Any) -> None:
    failed(request, user, str(authenticator.type))


def failed(request: Any, user: User | None, by: str) -> None:
    """A log line for each failure; of many from one address, some get a row that says how many they are."""
    address = address_of(request)
    logger.warning("a log-in failed", extra={"fields": {"client": address}})
    prefix = f"{redis_keys.LOG_INS}failed:"
    count = counted(settings.REDIS_URL, f"{prefix}{user.pk if user else ''}:{share_of(address)}", WINDOW_SEC)
    if _is_round(count):
        # Of all addresses together: who has many of them would else write a row for each.
        rows = counted(settings.REDIS_URL, f"{prefix}all", WINDOW_SEC)
        if rows <= MOST_ROWS or _is_round(rows):
            _write(FAILED, user, {"by": [None, by], "failures": [None, str(count)]})


def _is_round(count: int) -> bool:
    """1, 10, 100, …: a flood of any size is a handful of rows."""
    return set(str(count)[1:]) <= {"0"} and str(count)[0] == "1"


def _write(action: str, user: User | None, changes: dict[str, list[str | None]]) -> None:
    try:
        record(action, "auth.user", user.pk if user else "", user.get_username() if user else "", changes)
    except DatabaseError:  # a log-in must not fail for want of its row
        logger.exception("the audit log could not be written")
