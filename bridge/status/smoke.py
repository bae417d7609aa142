"""How the last short chat with an instance went that was made to see whether it works."""

from __future__ import annotations

import msgspec

from bridge.status.labelled import Labelled
from gateway_project.lib.texts import gettext_noop


class Behaviour(Labelled):
    """What a service did when it was asked for one word; a protocol that has changed shows here first."""

    UNKNOWN = "", ""
    AS_ASKED = "as_asked", gettext_noop("answers as asked")
    OTHER_WORDS = "other_words", gettext_noop("answers with other words")
    UNKNOWN_MESSAGES = "unknown_messages", gettext_noop("sends messages that nobody here understands")
    SILENT = "silent", gettext_noop("answers nothing")
    FAILS = "fails", gettext_noop("fails")


class SmokeReport(msgspec.Struct, frozen=True):
    """`failed` counts failures in a row; an instance that was only too busy neither failed nor works."""

    at: float
    """Unix seconds."""
    ok: bool
    total_ms: int | None = None
    error: str = ""
    failed: int = 0
    version: str = ""
    """Of the service that was asked."""
    behaviour: Behaviour = Behaviour.UNKNOWN
    """UNKNOWN: it was only too busy, or did not come to answer."""
    times: int = 1
    """So often in a row that version has behaved so."""
