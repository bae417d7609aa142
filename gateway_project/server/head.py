"""What the parser lets pass in the head of a request, and a server in front of us might read in another way."""

from __future__ import annotations

import httptools
import msgspec

from gateway_project.server import refusals
from gateway_project.server.refusals import Refused

Fields = list[tuple[bytes, bytes]]

WATCHED = frozenset((b"host", b"transfer-encoding", b"expect", b"upgrade"))
"""Fields that are checked. Nearly every request has one of them, the first."""


class Head(msgspec.Struct, frozen=True):
    """The parts of a head that decide: method, target, version, and the fields named in WATCHED."""

    method: str
    target: bytes
    version: str
    watched: Fields


class Verdict(msgspec.Struct, frozen=True):
    """What the server must do about a head that is not plain."""

    chunked: bool = False
    expects_continue: bool = False
    upgrade: bool = False


def is_plain(head_fields: Fields, target: bytes, version: str, method: str) -> bool:
    """Whether nothing needs a check: HTTP/1.1, one Host field, a path. So are all requests of an SDK."""
    return (
        len(head_fields) == 1
        and head_fields[0][0] == b"host"
        and version == "1.1"
        and target.startswith(b"/")
        and b"#" not in target
        and method != "CONNECT"
    )


def judged(head: Head) -> Verdict:
    """What to do about a head that is not plain. Raise Refused."""
    if head.version not in ("1.0", "1.1"):
        raise Refused(refusals.VERSION)
    if head.method == "CONNECT":
        raise Refused(refusals.CONNECT)
    _check_host(head)
    is_old = head.version == "1.0"
    return Verdict(
        chunked=_is_chunked(_values(head, b"transfer-encoding"), is_old=is_old),
        expects_continue=_expects(_values(head, b"expect"), is_old=is_old),
        upgrade=bool(_values(head, b"upgrade")),
    )


def _values(head: Head, name: bytes) -> list[bytes]:
    return [value.strip().lower() for each, value in head.watched if each == name]


def _check_host(head: Head) -> None:
    """RFC 9112 3.2: exactly one, and the host of a target in absolute form goes first, so they must agree."""
    hosts = _values(head, b"host")
    if len(hosts) > 1 or (not hosts and head.version == "1.1"):
        raise Refused(refusals.BAD_HOST)
    if b"#" in head.target:
        raise Refused(refusals.BAD_TARGET)
    # The usual form. What follows is the absolute one, as clients of a proxy send it.
    if head.target.startswith(b"/"):
        return
    scheme, separator, rest = head.target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https") or b"/" not in rest:
        raise Refused(refusals.BAD_TARGET)
    # Two different hosts, and a proxy may have chosen by the other one.
    if hosts and rest.partition(b"/")[0].lower() != hosts[0]:
        raise Refused(refusals.BAD_HOST)


def _is_chunked(codings: list[bytes], *, is_old: bool) -> bool:
    """RFC 9112 6.1: HTTP/1.0 has no transfer codings, and of those of HTTP/1.1 we undo one."""
    if codings and is_old:
        raise Refused(refusals.BAD_FRAMING)
    # A list that we undo in part, or read in another way than a proxy, is how requests are smuggled.
    if codings and codings != [b"chunked"]:
        raise Refused(refusals.TRANSFER_CODING)
    return bool(codings)


def _expects(expectations: list[bytes], *, is_old: bool) -> bool:
    if is_old or not expectations:  # RFC 9110 10.1.1: not for HTTP/1.0
        return False
    if set(expectations) != {b"100-continue"}:
        raise Refused(refusals.EXPECTATION)
    return True


def path_and_query(target: bytes) -> tuple[bytes, bytes]:
    """The two parts of a target. Raise Refused for one that has no path."""
    if target[:1] == b"/" and b"?" not in target and b"#" not in target:  # the server's parser has read its signs
        return target, b""
    try:
        parsed = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        raise Refused(refusals.BAD_TARGET) from None
    if not parsed.path or not parsed.path.startswith(b"/"):
        raise Refused(refusals.BAD_TARGET)
    return parsed.path, parsed.query or b""


def without_upgrade(method: str, version: str, fields: Fields) -> bytes:
    """The head again, without its wish for an upgrade: a parser that is fed with it goes on to the body."""
    lines = [f"{method} / HTTP/{version}".encode()]
    lines += [b"%b: %b" % field for field in fields if field[0] != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])
