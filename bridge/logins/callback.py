"""The address at which a login in a browser ends, as somebody pastes it (PROTOCOL 7.3)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from gateway_project.lib.texts import Text, gettext_noop

LONGEST: Final = 16 << 10
PATHS: Final = ("/auth/callback", "/auth/loginWithOrganization")
"""Nothing else of the service's HTTP port is asked for anybody."""
_TARGET: Final = re.compile(r"[!-~]+")
_ORGANISATION: Final = re.compile(r"/auth/loginWithOrganization\?organizationId=([^\"'&<>\s]{1,200})")
MOST_ORGANISATIONS: Final = 20
LONGEST_CHOICE: Final = 300
"""As wide as the column that says how an attempt goes."""


class BadCallback(Exception):
    """The message says what to paste instead."""

    def __init__(self, template: str) -> None:
        self.text = Text(template)
        super().__init__(self.text)


def target_of(pasted: str) -> str:
    """Path and query, exactly as they were pasted. Host and port do not matter: they are the service's own.

    Raise BadCallback.
    """
    text = pasted.strip()
    if len(text) > LONGEST or not _TARGET.fullmatch(text):
        raise BadCallback(gettext_noop("This is no address. Paste the whole line that the browser shows at the end."))
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.path not in PATHS or not parts.query or parts.scheme not in ("http", "https", ""):
        raise BadCallback(
            gettext_noop("This is not where a login ends: that address has /auth/callback?… behind 127.0.0.1.")
        )
    return f"{parts.path}?{parts.query}"


def organisations_in(page: str) -> list[str]:
    """Those between which an account has to choose, if that is what the page asks."""
    return list(dict.fromkeys(_ORGANISATION.findall(page)))[:MOST_ORGANISATIONS]


def choice_of(names: list[str]) -> str:
    """What somebody has to paste next. Of the organisations each stands there whole: half of one would be refused."""
    others = names[1:]
    while len(said := _choice_of(names, others)) > LONGEST_CHOICE and others:
        others = others[:-1]
    return said


def _choice_of(names: list[str], others: list[str]) -> str:
    said = f"Choose an organisation: paste {PATHS[1]}?organizationId={names[0]}"
    said += f" or, in the place of {names[0]}, one of: {', '.join(others)}" if others else ""
    left_out = len(names) - 1 - len(others)
    return f"{said} ({left_out} more)" if left_out else said
