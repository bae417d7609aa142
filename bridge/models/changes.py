"""Telling every web process that aliases or prompts have changed: a counter in Redis that each of them watches."""

from __future__ import annotations

from gateway_project.lib.changes import after_commit
from gateway_project.lib.redis import redis_keys


def announce() -> None:
    """
    Once the transaction is committed, make every web process read its routes again.

    Those that miss it, because Redis is away, read them again after MODELS_REFRESH_SEC anyhow.
    """
    after_commit("aliases", "INCR", redis_keys.ROUTES)
