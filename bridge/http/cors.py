"""Which web pages may call `/v1` from a browser, and what their browsers get (the Fetch standard, 3.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from bridge.wire.formats import FORMATS

Headers = list[tuple[bytes, bytes]]

METHODS: Final = b"GET, HEAD, POST, DELETE, OPTIONS"
USUAL_HEADERS: Final = b", ".join(
    [b"authorization", b"content-type", b"x-api-key", *(name for each in FORMATS for name in each.client_headers)]
)
EXPOSED: Final = b", ".join([b"x-request-id", *(each.id_header for each in FORMATS if each.id_header)]) + (
    b", x-lingma-upstream, x-lingma-instance, x-lingma-model, x-lingma-session, "
    b"x-lingma-queue-ms, x-lingma-first-token-ms, x-lingma-total-ms, x-lingma-warning, retry-after, retry-after-ms, "
    b"x-should-retry, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    b"x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, "
    b"anthropic-ratelimit-requests-limit, anthropic-ratelimit-requests-remaining, anthropic-ratelimit-requests-reset, "
    b"anthropic-ratelimit-tokens-limit, anthropic-ratelimit-tokens-remaining, anthropic-ratelimit-tokens-reset"
)
REMEMBERED_SEC: Final = b"7200"
"""The longest that Chromium keeps the answer to a preflight."""

HEADER_NAMES = re.compile(rb"[\w!#$%&'*+.^`|~, \t-]{1,4096}")
VARY_ORIGIN: Final = (b"vary", b"Origin")
VARY_PREFLIGHT: Final = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")


@lru_cache(1)
def cors_of(origins: frozenset[str]) -> Cors:
    """The rules of this process, made once: the origins come from its settings."""
    return Cors(origins)


class Cors:
    """The origins that are allowed. Keys come in headers, never in cookies, so credentials are never allowed."""

    def __init__(self, origins: Iterable[str]) -> None:
        named = frozenset(origin.encode() for origin in origins)
        self._all = b"*" in named
        self._named = named

    def allowed(self, origin: bytes) -> bytes:
        """The value of `Access-Control-Allow-Origin` for this origin; b"": it is not allowed."""
        if self._all:
            return b"*"
        # Browsers send origins in lower case already; others may not.
        return origin if origin.lower() in self._named else b""

    def headers(self, request: Mapping[bytes, bytes]) -> Headers:
        """The CORS headers of an answer of any kind; with `Vary`, caches keep it for one origin only."""
        # With named origins every answer differs by origin, even one that allows nothing: caches must know.
        vary = [] if self._all else [VARY_ORIGIN]
        origin = request.get(b"origin")
        if origin is None or not (origin_header := self.allowed(origin)):
            return vary
        return [(b"access-control-allow-origin", origin_header), (b"access-control-expose-headers", EXPOSED), *vary]

    def preflight(self, request: Mapping[bytes, bytes]) -> Headers | None:
        """The answer to a browser that asks whether it may ask; None for what is no such question, or is refused."""
        origin_header = self.allowed(request.get(b"origin", b"")) if b"origin" in request else b""
        if not origin_header or b"access-control-request-method" not in request:
            return None
        requested = request.get(b"access-control-request-headers", b"").strip()
        return [
            (b"access-control-allow-origin", origin_header),
            (b"access-control-allow-methods", METHODS),
            # Echoed, because SDKs add headers of their own with new releases (`x-stainless-…`).
            (b"access-control-allow-headers", requested if HEADER_NAMES.fullmatch(requested) else USUAL_HEADERS),
            (b"access-control-max-age", REMEMBERED_SEC),
            VARY_PREFLIGHT,
        ]
