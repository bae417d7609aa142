"""Django's settings of the database: where it is, and how long anybody waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import dj_database_url

LOCKED_SEC = 4  # SQLite: how long a writer waits for another
POSTGRESQL: Final[dict[str, Any]] = {
    "connect_timeout": 2,
    "statement_sec": 5.0,
    "lock_sec": 4.0,
    # A silent connection is probed after 10 s, and counts as lost after some 20 s.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
SQLITE: Final[dict[str, Any]] = {
    "timeout": LOCKED_SEC,
    "transaction_mode": "IMMEDIATE",
    # WAL lets the web processes read while the worker writes.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}


def database(url: str, data_dir: Path) -> dict[str, Any]:
    """The default database. An option in the URL wins over ours."""
    # 0: Django closes after each request, and our pool keeps what is of use.
    found: dict[str, Any] = {**dj_database_url.parse(url, conn_max_age=0)}
    options = found.get("OPTIONS", {})
    if found["ENGINE"].endswith("sqlite3"):
        # In memory, threads would find tables locked without waiting for them.
        return found | {
            "ENGINE": "gateway_project.sqlite3",
            "TEST": {"NAME": data_dir / "test.sqlite3"},
            "OPTIONS": SQLITE | options,
        }
    # Ours first, so that an option in the URL overrides it.
    return found | {"ENGINE": "gateway_project.postgresql", "OPTIONS": POSTGRESQL | options}


def relax_deadlines(databases: dict[str, Any]) -> None:
    """Allow long statements and locks: for commands that work on whole tables, such as migrations."""
    options = databases["default"]["OPTIONS"]
    if "statement_sec" in options:
        options |= {"statement_sec": 3600.0, "lock_sec": 60.0}
    else:
        options["timeout"] = 20
