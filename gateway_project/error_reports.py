"""Errors of the log are also sent to Sentry, where SENTRY_DSN names one: their text, trace and place, without secrets.

Nothing of requests, and no values of variables: those may hold prompts and keys.
"""

from __future__ import annotations

from typing import Any, Final

from bridge.version import VERSION
from gateway_project.lib.secrets.redaction import redacted

DEEPEST: Final = 12


def start(dsn: str) -> None:
    """In each process once. Raise ValueError for a DSN that is none."""
    # Only here: 10 MB, which nobody pays who does not want it.
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.integrations.threading import ThreadingIntegration

    sentry_sdk.init(
        dsn,
        release=f"lingma-gateway@{VERSION}",
        # Those for Django, Celery and ASGI wrap every request; what breaks in them is logged, and comes from there.
        default_integrations=False,
        auto_enabling_integrations=False,
        # Whoever stops waits for nothing: what could not be sent in two seconds is in the log.
        integrations=[
            LoggingIntegration(level=None, sentry_logs_level=None),
            AtexitIntegration(callback=lambda _pending, _timeout: None),
            DedupeIntegration(), ExcepthookIntegration(), ThreadingIntegration(propagate_scope=False),
        ],
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        auto_session_tracking=False,
        max_breadcrumbs=0,
        before_send=lambda event, _hint: without_secrets(event),
    )  # fmt: skip


def without_secrets(part: Any, depth: int = 0) -> Any:
    """The same, with the secrets cut out of every text in it."""
    if isinstance(part, str):
        return redacted(part)
    if depth == DEEPEST:
        return None
    if isinstance(part, dict):
        return {key: without_secrets(each, depth + 1) for key, each in part.items()}
    if isinstance(part, (list, tuple)):
        return [without_secrets(each, depth + 1) for each in part]
    return part
