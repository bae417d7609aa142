"""What is known of the login page: where things are on it, and where it may lead. Pure.

The page "Login page" of the console changes any of it; what is left empty there is as here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from bridge.logins.callback import PATHS
from bridge.signin.proxies import Proxy

Selectors = tuple[str, ...]

MOST_REDIRECTS: Final = 20
LOOPBACK: Final = ("127.0.0.1", "localhost")


class PageRules(msgspec.Struct, frozen=True):
    """CSS selectors, of which the first that is visible counts, and hosts with all below them."""

    user_fields: Selectors = ("#fm-login-id", "#username", "input[name=loginId]", "input[autocomplete=username]")
    password_fields: Selectors = ("#fm-login-password", "#password", "input[type=password]")
    buttons: Selectors = ("#submit", ".password-login", ".fm-submit", "button[type=submit]")
    links: Selectors = ("a#login",)
    """That lead to the form, or to the end; followed once."""
    errors: Selectors = ("#login-error", "#error", ".fm-error-tip", ".login-error-msg")
    captchas: Selectors = (
        "#captcha", "#nc_1_n1z", ".nc-container", "#baxia-dialog-content", "iframe[src*=captcha]",
        "iframe[src*=punish]",
    )  # fmt: skip
    codes: Selectors = ("#code", "input[autocomplete=one-time-code]", "input[name=smsCode]", "iframe[src*=mfa]")
    hosts: tuple[str, ...] = ("aliyun.com", "alibabacloud.com", "aliyuncs.com", "alicdn.com", "taobao.com")


class Seen(msgspec.Struct, frozen=True):
    """The page at one moment. Each is the selector that was found, or ""."""

    username: str = ""
    password: str = ""
    submit: str = ""
    link: str = ""
    error: str = ""
    captcha: str = ""
    code: str = ""
    is_loaded: bool = True


class Progress(msgspec.Struct):
    """What was done so far."""

    named: bool = False
    """The name was sent, of a page that asks for it first."""
    submitted: bool = False
    followed: bool = False


def next_step(seen: Seen, done: Progress) -> str:
    """`captcha`, `code`, `wrong`, `fill`, `name`, `follow`, `wait`, or `unknown` if it stays as it is."""
    if seen.captcha:
        return "captcha"
    if seen.code:
        return "code"
    if seen.error and done.submitted:
        return "wrong"
    if seen.password:
        # A form that is still there after it was sent belongs to the old page, or says so by an error.
        return "wait" if done.submitted else "fill"
    if seen.username:
        return "wait" if done.named else "name"
    if seen.link:
        return "wait" if done.followed else "follow"
    return "unknown" if seen.is_loaded else "wait"


def may_visit(url: str, first: str, port: int, hosts: tuple[str, ...]) -> bool:
    """Whether the browser may go there: the known hosts over https, the page it began with, and the callback."""
    try:
        parts, began = urlsplit(url), urlsplit(first)
        to, host = (parts.scheme, parts.netloc), parts.hostname or ""
        own = host in LOOPBACK and parts.port == port
    except ValueError:
        return False
    if to == (began.scheme, began.netloc):
        return True
    if parts.scheme == "https" and any(host == each or host.endswith(f".{each}") for each in hosts):
        return True
    return own and parts.scheme == "http" and parts.path in PATHS


def is_callback(url: str, port: int) -> bool:
    """Whether the browser has come to the end of a login."""
    try:
        parts = urlsplit(url)
        own = parts.hostname in LOOPBACK and parts.port == port
    except ValueError:
        return False
    return own and parts.path in PATHS


def without_query(text: str) -> str:
    """What is said of an address, without what stands behind its path: that may be somebody's secret."""
    return re.sub(r"[?#]\S*", "", text)


def known_hosts(first: str, hosts: tuple[str, ...]) -> list[str]:
    """That of the first page, and those that are listed: none of this machine."""
    began = urlsplit(first).hostname or ""
    return [each for each in dict.fromkeys((began, *hosts)) if each and each not in LOOPBACK]


def resolver_rule(first: str, port: int, hosts: tuple[str, ...], proxies: Sequence[Proxy] = ()) -> str:
    """For Chromium: it finds these hosts and no other, and of this machine one port, whatever a page asks for.

    Nobody else sees where a redirect leads before it is followed. A proxy is found by a name of its own, as it may well
    be on this machine.
    """
    began = urlsplit(first)
    named = (name for each in hosts for name in (each, f"*.{each}"))
    # Where the login page itself is on this machine, on another port, there is no way to tell the two apart.
    own = [each for each in LOOPBACK if each != began.hostname or began.port == port]
    known = dict.fromkeys(each for each in (began.hostname, *named) if each and each not in own)
    to_proxies = [f"MAP {each.name} {each.place}" for each in proxies]
    rules = [*to_proxies, *(f"MAP {each} 127.0.0.1:{port}" for each in own), "MAP * ~NOTFOUND"]
    return " , ".join([*rules, *(f"EXCLUDE {each}" for each in known)])
