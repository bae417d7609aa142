"""The account out of the answer to `auth/status` (PROTOCOL 7.1)."""

from __future__ import annotations

from typing import Final

from bridge.lingma.dialects.a.messages import AuthStatus
from bridge.lingma.dialects.base import AccountFacts
from bridge.status.accounts import AccountState

LOGGED_IN = "2"
LATEST: Final = 221_845_392_000
"""Unix seconds of the year 9000: a login that is to end later ends never, and no calendar has its end."""
STATES: Final = {
    "1": AccountState.LOGGED_OUT,
    LOGGED_IN: AccountState.LOGGED_IN,
    "3": AccountState.EXPIRED,
    "4": AccountState.ERROR,
    "5": AccountState.NETWORK_ERROR,
    "6": AccountState.ADDRESS_REFUSED,
    "7": AccountState.APP_DISABLED,
}
"""Of `status`. Nothing is known of other values: they are no login, and nothing that a login would cure."""
WHITELIST: Final = {
    "1": AccountState.NOT_LISTED,
    "2": AccountState.WAITING_FOR_APPROVAL,
    "4": AccountState.UNKNOWN,
    "5": AccountState.NO_LICENCE,
}
"""Of `whitelist`. Any other value, 0 and none at all refuse nobody."""


def account_of(status: AuthStatus) -> AccountFacts:
    """A login that the list of the organisation does not admit cannot chat either."""
    state = STATES.get(str(status.status), AccountState.ERROR)
    if state is AccountState.LOGGED_IN:
        state = WHITELIST.get(str(status.whitelist), state)
    return AccountFacts(state, _seconds(status.expireTime))


def _seconds(milliseconds: int | str | None) -> float:
    text = str(milliseconds)
    seconds = int(text) / 1000 if text.isdecimal() and len(text) < 16 else 0.0
    return seconds if seconds < LATEST else 0.0
