"""Hands a task to Celery from anywhere, without a wait for a Redis that is away."""

from __future__ import annotations

import logging

import redis
from django.conf import settings

from gateway_project.lib.redis.redis_client import connect

log = logging.getLogger(__name__)


def send(task: str, *arguments: int, queue: str) -> bool:
    """Whether it was sent. Whoever sends it sees to it that it is sent again."""
    try:
        # Celery would try for seconds, and a page waits for it.
        with connect(settings.REDIS_URL) as client:
            client.ping()
        from celery import current_app  # here: who only looks needs none of it

        current_app.send_task(task, arguments, queue=queue, ignore_result=True, retry=False)
    except redis.RedisError as exc:
        log.warning("%s waits for Redis: %s", task, exc)
        return False
    except Exception as exc:  # noqa: BLE001 - of three libraries, when Redis goes away in between
        log.warning("%s waits for Redis: %s", task, " ".join(str(exc).split()))
        return False
    return True
