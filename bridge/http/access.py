"""Who may call: keys from the headers to callers, and tokens of operators."""

from __future__ import annotations

import hmac

from django.db import DatabaseError

from accounts.keys import Caller
from bridge.chat.errors import Unauthenticated, Unavailable
from bridge.http.streaming import HttpConsumer


async def caller_of(consumer: HttpConsumer) -> Caller:
    """The holder of the key in `x-api-key` or `Authorization`; of two different keys either will do.

    Raise Unauthenticated, in the same words whatever is wrong with the key.
    """
    for secret in (consumer.bearer(), consumer.single(b"x-api-key").strip().decode("latin-1")):
        if not secret:
            continue
        try:
            caller = await consumer.runtime.keys.authenticate(secret)
        except DatabaseError:
            raise Unavailable("Keys cannot be checked right now.", retry_after=5) from None
        if caller is not None:
            return caller
    raise Unauthenticated("The API key is missing or not valid.")


def bears(consumer: HttpConsumer, token: str) -> bool:
    """The request carries this token of the operators; an empty one opens nothing."""
    return bool(token) and hmac.compare_digest(consumer.bearer().encode(), token.encode())
