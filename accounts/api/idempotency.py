"""Idempotency-Key: a request that is sent again, because its answer was lost, makes nothing a second time."""

from __future__ import annotations

import hashlib
import hmac
import json
from http import HTTPStatus
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils.translation import gettext
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.problems import Conflict
from accounts.models import IdempotentRequest
from gateway_project.lib.secrets.secrets_at_rest import Secret, SecretUnreadableError

HEADER: Final = "Idempotency-Key"
LONGEST: Final = 255


class KeyReused(exceptions.APIException):
    """The Idempotency-Key came with another request before."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"


class Idempotent:
    """A mixin for view sets: `create` is done once per user, Idempotency-Key and body within a day.

    The answer is kept encrypted, for it may hold a secret; only an answer that made something is kept.
    """

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER, "")
        # Also one transaction, as row, links and entry of the audit log belong together.
        if not key:
            with transaction.atomic():
                return super().create(request, *args, **kwargs)  # type: ignore[misc,no-any-return]
        if len(key) > LONGEST or not key.isprintable():
            raise serializers.ValidationError(
                {HEADER: gettext("It has at most 255 characters, all of them printable.")}
            )
        digest = _digest(request)
        # In one transaction: of two at the same time the second waits for the row of the first.
        with transaction.atomic():
            stored, made = _row(request.user, key, digest)
            if not made:
                # Its answer is there: row and answer are committed together, and what failed has left no row.
                return _again(stored, digest)
            response: Response = super().create(request, *args, **kwargs)  # type: ignore[misc]
            answer = {"status": response.status_code, "data": response.data, "location": response.get("Location", "")}
            stored.answer = Secret.of(json.dumps(answer, default=str).encode())
            stored.save(update_fields=["answer"])
        return response


def _row(user: Any, key: str, digest: str) -> tuple[IdempotentRequest, bool]:
    # Here too, not only by the task: a key may be used again after a day, whether or not the worker runs.
    IdempotentRequest.prune()
    try:
        # A savepoint, so that the transaction around it can be used after the error.
        with transaction.atomic():
            return IdempotentRequest.objects.create(user=user, key=key, digest=digest), True
    except IntegrityError:
        return IdempotentRequest.objects.get(user=user, key=key), False


def _again(stored: IdempotentRequest, digest: str) -> Response:
    if not hmac.compare_digest(stored.digest, digest):
        raise KeyReused(gettext("This Idempotency-Key came with another request before."))
    try:
        answer = json.loads(stored.answer.read())
    except SecretUnreadableError as exc:
        raise Conflict(str(exc), code="secret_unreadable") from None
    headers = {"Idempotency-Replayed": "true"} | ({"Location": answer["location"]} if answer["location"] else {})
    return Response(answer["data"], answer["status"], headers=headers)


def _digest(request: Request) -> str:
    # Of the parsed body: blanks and the order of fields make no other request.
    body = json.dumps(request.data, sort_keys=True)
    return hashlib.sha256(f"{request.method} {request.path}\n{body}".encode(errors="surrogatepass")).hexdigest()
