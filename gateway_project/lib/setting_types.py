"""Types of settings: what a value of the environment is made into, and what it is refused for."""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from gateway_project.lib.redis import redis_url
from gateway_project.lib.secrets.key_secret import is_mistyped
from gateway_project.lib.tool_approval import Approval

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
SHORTEST_KEY = 20
"""Characters of a key that somebody else made up: a shorter one can be guessed."""


def split(value: Any) -> Any:
    """A list from text with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def split_keys(value: Any) -> Any:
    """The same, or with a line for each, as files have them: no header could send a key with a line break."""
    return split(value.replace("\n", ",")) if isinstance(value, str) else value


def _url(*schemes: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value and not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        if "#" in value:  # the rest would be dropped in silence
            raise ValueError("has a # in it; in a URL it is written %23")
        _parts(value)
        return value

    return check


def _parts(value: str) -> SplitResult:
    """Raise ValueError in our own words: those of Python quote what is wrong, which may be half of a password."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "cannot be read: a port is a number, and in a user name or a password / ? # [ ] @ are written %2F and so on"
        ) from None
    return parts


def _database(value: str) -> str:
    if value.startswith("sqlite") and not _parts(value).path.strip("/"):
        # In memory each process would have one of its own.
        raise ValueError("must name a file: sqlite:///name in this directory, sqlite:////path elsewhere")
    return value


def _attachment(value: str) -> str:
    if not value.startswith(("ws://", "wss://", "file://", "/")):
        raise ValueError("must be ws://host:port, wss://host, or the absolute path of a work dir or of its .info.json")
    if value.startswith("ws") and not _parts(value).hostname:
        raise ValueError("names no host: it is ws://host:port, and IPv6 stands in brackets")
    return value


def _proxy(value: str) -> str:
    try:
        if value != "*":
            ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value} is not an address or a network; examples are 10.0.0.7 and 10.0.0.0/8") from None
    return value


def _keys(values: list[str]) -> list[str]:
    # By number: the message goes to a log, and must not quote a key.
    for number, key in enumerate(values, 1):
        if len(key) < SHORTEST_KEY:
            raise ValueError(f"key {number} has {len(key)} characters; a key needs at least {SHORTEST_KEY}")
        if is_mistyped(key):
            raise ValueError(f"key {number} has the form of a key of this gateway, but a letter of it is wrong")
    return values


def _zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{value} is not a time zone; an example is Asia/Shanghai") from None
    return value


def _origins(values: list[str]) -> list[str]:
    # As browsers send them: lower case, without a slash at the end.
    origins = [value.rstrip("/").lower() for value in values]
    for origin in origins:
        if not re.fullmatch(r"\*|null|[a-z][a-z0-9+.-]*://[^/\s?#@]+", origin):
            raise ValueError("must be origins such as https://app.example.com, or * for all")
    return origins


def _trusted_origins(values: list[str]) -> list[str]:
    # As browsers send them: Django compares them as they are, and would refuse every form.
    origins = [value.rstrip("/").lower() for value in values]
    for origin in origins:
        if not re.fullmatch(r"https?://(\*\.)?[^/\s?#@*]+", origin):
            raise ValueError("must be origins such as https://gateway.example.com or https://*.example.com")
    return origins


def _sha256(value: str) -> str:
    digest = value.strip().lower().removeprefix("sha256:")
    if digest and not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError("must be a SHA-256: 64 hexadecimal digits")
    return digest


def _issuer(value: str) -> str:
    url = urlsplit(value)
    if (value and not (url.scheme == "https" or (url.scheme == "http" and url.hostname in LOCAL_HOSTS))) or url.query:
        # In the clear anybody on the way could say who somebody is.
        raise ValueError("must start with https://, as the provider names itself")
    return value.rstrip("/")


def _approval(value: str) -> str:
    Approval.read(value)
    return value


def _secret_keys(values: list[SecretStr]) -> list[SecretStr]:
    for number, key in enumerate(values, 1):
        if len(key.get_secret_value()) < SHORTEST_KEY:
            raise ValueError(f"key {number} is shorter than {SHORTEST_KEY} characters, so it can be guessed")
    return values


def _node(value: str) -> str:
    if value and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", value):
        raise ValueError("must be at most 40 letters, digits, dots and hyphens")
    return value


def is_loopback(host: str) -> bool:
    """Only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _pepper(value: SecretStr) -> SecretStr:
    if 0 < len(value.get_secret_value()) < 20:
        raise ValueError("must be empty or have 20 characters or more")
    return value


def _peer_address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if value and (not host or not port.isdigit() or not 0 < int(port) < 65_000):
        raise ValueError("must be an address and a port, such as 10.0.0.5:8400 or [fd00::5]:8400")
    if host in {"0.0.0.0", "[::]", "*"}:  # noqa: S104 - it is refused
        raise ValueError("must name the address at which the other machines reach this one")
    return value


Names = Annotated[list[str], NoDecode, BeforeValidator(split)]
Pepper = Annotated[SecretStr, AfterValidator(_pepper)]
SecretKeys = Annotated[list[SecretStr], NoDecode, BeforeValidator(split), AfterValidator(_secret_keys)]
Keys = Annotated[list[str], NoDecode, BeforeValidator(split_keys), AfterValidator(_keys)]


def _redis(value: str) -> str:
    if value:
        redis_url.read(value)
    return value


DatabaseUrl = Annotated[str, AfterValidator(_url("postgres", "postgresql", "sqlite")), AfterValidator(_database)]
RedisUrl = Annotated[str, AfterValidator(_url("redis", "rediss", "unix")), AfterValidator(_redis)]
TrustedOrigins = Annotated[list[str], NoDecode, BeforeValidator(split), AfterValidator(_trusted_origins)]
Origins = Annotated[list[str], NoDecode, BeforeValidator(split), AfterValidator(_origins)]
NodeName = Annotated[str, AfterValidator(_node)]
PeerAddress = Annotated[str, AfterValidator(_peer_address)]
Sha256 = Annotated[str, AfterValidator(_sha256)]
Attachment = Annotated[str, AfterValidator(_attachment)]
Proxy = Annotated[str, AfterValidator(_proxy)]
TimeZone = Annotated[str, AfterValidator(_zone)]
Issuer = Annotated[str, AfterValidator(_issuer)]
ToolApproval = Annotated[str, AfterValidator(_approval)]
