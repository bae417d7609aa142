"""What browsers may do with our pages: where scripts and styles come from, who may frame them, what they may use."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from functools import cache
from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from gateway_project.env import BASE_DIR

CONSOLE: Final = "/admin/"
BOUNDS: Final = "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
CONSOLE_POLICY: Final = (
    # unfold's templates have expressions in attributes, which Alpine evaluates, and styles beside them.
    f"default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; {BOUNDS}"
)
FEATURES: Final = (
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), "
    "magnetometer=(), microphone=(), midi=(), payment=(), serial=(), usb=(), "
    "publickey-credentials-create=(self), publickey-credentials-get=(self)"
)


class SecurityHeaders:
    """Middleware, outside of all that make answers. A page that has a policy of its own keeps it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        policy = CONSOLE_POLICY if request.path.startswith(CONSOLE) else strict_policy()
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers.setdefault("Permissions-Policy", FEATURES)
        return response


@cache
def strict_policy() -> str:
    """For all other pages; the page of errors, which needs no other file, has a style that is known by its digest."""
    page = (BASE_DIR / "templates" / "error.html").read_text()
    digests = [
        hashlib.sha256(style.encode()).digest() for style in re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    ]
    known = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return f"default-src 'self'; style-src 'self' {known}; {BOUNDS}"
