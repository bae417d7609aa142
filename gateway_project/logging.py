"""Django's LOGGING: where lines go, in which format, and what is redacted. Handlers are added as usual in Django."""

from __future__ import annotations

import logging
from typing import Any, Final, Literal

from gateway_project.lib.secrets.redaction import redacted

LogFormat = Literal["text", "json"]

# These log every task and every query; at DEBUG they may.
CHATTERERS: Final = ("celery.beat", "celery.worker.strategy", "celery.app.trace", "httpx")

FORMATS: Final = {"text": "TextFormatter", "json": "JsonFormatter"}


def config(level: str, log_format: LogFormat) -> dict[str, Any]:
    """
    A dictConfig: every logger ends at one handler, which writes to standard error.

    Both formatters cut out secrets. A handler with a formatter of its own needs the filter `without_secrets`.
    """
    quiet = {name: {"level": level if level == "DEBUG" else "WARNING"} for name in CHATTERERS}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"without_secrets": {"()": "gateway_project.logging.WithoutSecrets"}},
        "formatters": {name: {"()": f"gateway_project.log_formatters.{each}"} for name, each in FORMATS.items()},
        "handlers": {"stderr": {"()": "gateway_project.log_handler.QueuedHandler", "formatter": log_format}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            # Django gives these handlers of its own.
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": [], "propagate": True},
            "django.db.backends": {"level": "INFO"},  # queries carry their parameters
            **quiet,
        },
    }


class WithoutSecrets(logging.Filter):
    """Cuts secrets out of message, trace and `fields`, which every record has then. Later handlers see it so, too."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Formatted first: a secret may come together only from the template and its arguments.
        record.msg, record.args = redacted(record.getMessage()), None
        if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
        fields = getattr(record, "fields", {})
        record.fields = {name: redacted(each) if isinstance(each, str) else each for name, each in fields.items()}
        return True
