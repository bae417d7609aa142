"""The settings of an installation, as somebody has written them: what moves with a backup, and how it is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from gateway_project.env import SECRETS, Environment

STAYING: Final = frozenset([
    "HOST", "PORT", "DATA_DIR", "DATABASE_URL", "REDIS_URL", "WEB_PROCESSES", "WEB_PROCESS", "NODE_NAME",
    "PEER_LISTEN", "PEER_TLS_CERT", "PEER_TLS_KEY", "PEER_TLS_CA", "LINGMA_BIN", "LINGMA_VSIX", "LINGMA_ATTACH_URLS",
    "LOGIN_BROWSER", "BACKUP_PASSPHRASE", "SECRET_KEY", "SECRET_KEYS", "KEY_PEPPER",
])  # fmt: skip
"""What belongs to a machine, and keys, which go their own way."""


def that_move() -> dict[str, str]:
    """What is set here, by name, and moves."""
    return movable(all_set())


def movable(values: Mapping[str, str]) -> dict[str, str]:
    """What of these is a setting and moves, whatever else a backup may have."""
    return {
        name: value
        for name, value in values.items()
        if name not in STAYING and name.isupper() and name.lower() in Environment.model_fields
    }


def all_set() -> dict[str, str]:
    """What the environment and `.env` set of ours. Contents of files that `X_FILE` names stand under `X`."""
    path = Environment.model_config.get("env_file")
    found = dotenv_values(path) if isinstance(path, str | Path) and Path(path).is_file() else {}
    # An empty variable of the environment is none, and that of `.env` counts.
    given = {name.upper(): value for source in (found, os.environ) for name, value in source.items() if value}
    values = {name.upper(): given[name.upper()] for name in Environment.model_fields if name.upper() in given}
    for name in SECRETS:
        with suppress(KeyError, OSError, ValueError):
            values.setdefault(name.upper(), Path(given[f"{name.upper()}_FILE"]).read_text().strip())
    return values


def lines(values: Mapping[str, str]) -> str:
    """As they stand in an `.env` file."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in sorted(values.items()))


def _quoted(value: str) -> str:
    if value and all(each.isalnum() or each in "_-.,:/@+=*[]%" for each in value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    # `${NAME}` is replaced in quotes, too, and nothing escapes it: a variable without a name has its default, a `$`.
    escaped = escaped.replace("${", "${:-$}{")
    return f"'{escaped}'"
