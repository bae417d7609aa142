"""What attempts to log in are set to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from bridge.pool.options import InstanceSpec
from bridge.status.versions import WantedVersion


class SignInOptions(msgspec.Struct, frozen=True):
    """Times in seconds."""

    redis_url: str
    directory: Path
    """Of the work dirs, one for each attempt."""
    spec: Callable[[Path, WantedVersion | None], InstanceSpec]
    """How a service of a version is started in a work dir. Raises LingmaError when there is no program."""
    model: str = "org_auto"
    """Of the chat that tests a login."""
    chat_sec: float = 60.0
    """As long its answer may take."""
    start_sec: float = 15.0
    person_sec: float = 600.0
    """As long a person may take."""
    answer_sec: float = 60.0
    """As long a login with keys or tokens may take, once the service has taken them."""
    browser: str = ""
    """The Chromium of automatic logins; "": the one on PATH."""
    browser_sec: float = 90.0
    """As long such a login may take."""
    unknown_sec: float = 8.0
    """As long a page may have nothing on it that is known."""
    stable_sec: float = 3.0
    """For which the files of a login have not changed (PROTOCOL 3.2)."""
