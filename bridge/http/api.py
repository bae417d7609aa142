"""Requests that carry a key: whose it is, and what it may do."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable

from django.db import Error

from accounts.keys.keyring import Caller, KeyStatus, TooManyUnknown
from accounts.keys.networks import is_within
from accounts.limits.admission import LimitExceeded, may_use
from accounts.limits.admitted import Admission
from accounts.patterns import split
from bridge.bounds.patience import wait_or_gone
from bridge.chat.errors import Forbidden, GatewayError, Unauthenticated, Unavailable
from bridge.http.base import Headers, HttpConsumer, secret_of
from bridge.http.limits import limit_headers, refusal_of
from gateway_project.lib.asgi_extensions import SAME_HEAD

LONGEST_LIST = 300  # characters of a list of models
LONGEST_MODEL = 100


class ApiConsumer(HttpConsumer):
    """A request that a key pays for, or one with a token of the operators."""

    def caller_of_same_head(self) -> Caller | None:
        """The holder of the key, if an equal head of this connection has brought it before and it is still open."""
        head = self.scope.get(SAME_HEAD)
        if not head:
            return None
        caller = self.runtime.keys.open_caller(head.get("key", b""))
        if caller is None or caller.networks is not None:
            return None
        self.key_holder = caller
        self.limited = caller if caller.limits else None
        return caller

    async def authenticate(self) -> Caller:
        """The holder of the key in `x-api-key` or `Authorization`; of two different keys either will do.

        Raise Unauthenticated, in the same words whatever is wrong with the key; in a flood of those, after a while.
        Raise Forbidden for a key that may not be used from where the client is.
        """
        refused: GatewayError | None = None
        unchecked: GatewayError | None = None  # a key that may be good goes before one that is not
        holder: Caller | None = None
        before = self.key_holder  # by an earlier look, before a slow upload
        keys = self.runtime.keys
        secrets = self._secrets()
        for secret in filter(None, secrets):
            try:
                # An agent may send an old key in one header and the right one in the other, so one that is refused
                # decides nothing yet.
                caller = await keys.authenticate(secret)
            except Error:
                unchecked = Unavailable("Keys cannot be checked right now.", retry_after=2, reason="keys_unavailable")
                continue
            except TooManyUnknown:
                words = "Too many unknown API keys are being checked right now."
                unchecked = Unavailable(words, retry_after=1, reason="too_many_unknown_keys")
                continue
            if caller is not None:
                holder = self.key_holder = caller
                self.limited = caller if caller.limits else None
                if caller.networks is None or is_within(caller.networks, self.client_ip):
                    self._remember(secret, secrets)
                    return caller
                refused = Forbidden(
                    "This API key may not be used from your network.", code="network_not_allowed", reason="network"
                )
                continue
            # Only for the row and the metrics: the client gets the same words for every bad key.
            closed, status = keys.refused(secret)
            if holder is None:  # of two keys that open nothing, the row has the one that once did
                holder = closed
                self.key_holder = closed or before
                # One that is known no more was removed meanwhile.
                refused = key_closed("revoked" if status == "unknown" and before is not None else status)
        if wait := self.runtime.unauthenticated.wait(time.monotonic()):
            # The delay comes after the check, so that a good key never waits for a flood of bad ones.
            await wait_or_gone(self.receive, wait)
        raise unchecked or refused or Unauthenticated("The API key is missing or not valid.", reason="no_key")

    def _secrets(self) -> list[str]:
        """What both headers carry, "" for nothing."""
        secrets = [self.bearer()]
        if b"x-api-key" in self.request_headers:
            secrets.append(secret_of(self.single(b"x-api-key")))
        return secrets

    def _remember(self, secret: str, secrets: list[str]) -> None:
        head = self.scope.get(SAME_HEAD)
        # Of two keys the other one may be the better one next time.
        if head is not None and len(secrets) == 1:
            head["key"] = self.runtime.keys.digest_of(secret)

    def start(self, status: int, headers: Headers, whole: bytes | None = None) -> Awaitable[None]:
        """As ever; every answer to a limited key says how its limits stand."""
        if self.limited is None:
            return HttpConsumer.start(self, status, headers, whole)
        if self.limits_seen is None:
            return self._start_after_look(self.limited, status, headers, whole)
        return HttpConsumer.start(self, status, headers + limit_headers(self.format, self.limits_seen), whole)

    async def _start_after_look(self, caller: Caller, status: int, headers: Headers, whole: bytes | None) -> None:
        # Not all are counted: what was refused before, or is no turn, looks how they stand.
        seen = await self.runtime.limits.look(caller)
        await HttpConsumer.start(self, status, headers + limit_headers(self.format, seen), whole)

    def carries(self, token: str) -> bool:
        """The request has this token of the operators; an empty one opens nothing."""
        # In constant time, as the time of `==` shows how much of a guess is right.
        return bool(token) and hmac.compare_digest(self.bearer().encode(), token.encode())

    async def admit(self, caller: Caller, prompt: int, longest: int | None, started_at: float) -> Admission:
        """A place under the limits of the key and its team; release it when the turn has ended. Raise RateLimited.

        `prompt` are its tokens, for a key with a limit of those; `longest` the most that the client wants to have.
        """
        try:
            admission = await self.runtime.limits.admit(caller, self.id, prompt, longest, at=started_at)
        except LimitExceeded as exc:
            self.limits_seen = exc.seen
            raise refusal_of(exc) from None
        self.limits_seen = admission.seen
        return admission

    async def admit_count(self, caller: Caller, model: str = "") -> None:
        """Let a request pass that asks no service, such as one that counts tokens: a model it may use, within `rpm`.

        It takes no tokens and no place, so the other limits do not stop it. Raise Forbidden or RateLimited.
        """
        if model:
            self.model = model
            self.require_model(caller, model)
        try:
            self.limits_seen = (await self.runtime.limits.admit(caller, self.id, turn=False)).seen
        except LimitExceeded as exc:
            self.limits_seen = exc.seen
            raise refusal_of(exc) from None

    def require_model(self, caller: Caller, model: str) -> None:
        """Raise Forbidden unless the key may use the model, by the name asked for or by what it means here."""
        if caller.models is None or may_use(caller, *self.runtime.engine.routes.names_of(model)):
            return
        shown = model if len(model) <= LONGEST_MODEL else f"{model[:LONGEST_MODEL]}…"
        raise Forbidden(
            f"This API key may not use the model '{shown}'. {_listed(caller.models)}",
            param=("model",),
            code="model_not_allowed",
            reason="model",
        )


def key_closed(status: KeyStatus) -> Unauthenticated:
    """The refusal of a key that opens nothing: in the same words whatever is wrong with it; its row says more."""
    reason = "unknown_key" if status == "unknown" else status
    return Unauthenticated("The API key is missing or not valid.", reason=reason)


def _listed(models: frozenset[str]) -> str:
    allowed, forbidden = split(models)
    parts = [f"It may use: {_cut(allowed)}."] if allowed else []
    return " ".join([*parts, f"It may not use: {_cut(forbidden)}."] if forbidden else parts)


def _cut(models: list[str]) -> str:
    names = ", ".join(sorted(models))
    # Cut at a comma, so that no half of a name looks like a model.
    return names if len(names) <= LONGEST_LIST else f"{names[:LONGEST_LIST].rpartition(',')[0]}, …"
