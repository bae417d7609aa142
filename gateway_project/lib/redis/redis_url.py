"""A Redis URL, read once for all that connect: each of its options is honoured by every connection, or refused."""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import msgspec

TLS_OPTIONS: Final = frozenset(
    {"ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"}
    | {"ssl_password"}
)
OPTIONS: Final = TLS_OPTIONS | {"db", "username", "password", "socket_keepalive", "health_check_interval"}
"""Deadlines, retries and decoding are the gateway's own, so nothing here speaks of them."""

VERIFY: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
FALSE: Final = frozenset({"0", "f", "false", "n", "no"})  # as redis-py reads them
TRUE: Final = frozenset({"1", "t", "true", "y", "yes"})


class Tls(msgspec.Struct, frozen=True):
    """How the server proves who it is, and we to it. Paths are of PEM files."""

    verify: str = "required"
    check_hostname: bool = True
    ca_file: str | None = None
    ca_dir: str | None = None
    certificate: str | None = None
    key: str | None = None
    key_password: str | None = None

    def context(self) -> ssl.SSLContext:
        """As redis-py makes it. Reads files; raise OSError when one is missing or is not what it should be."""
        context = ssl.create_default_context()
        # check_hostname must be off before verify_mode may be CERT_NONE, so the order of these two lines matters.
        context.check_hostname = self.check_hostname and self.verify != "none"
        context.verify_mode = VERIFY[self.verify]
        if self.certificate or self.key:
            context.load_cert_chain(self.certificate or "", self.key, self.key_password)
        if self.ca_file or self.ca_dir:
            context.load_verify_locations(self.ca_file, self.ca_dir)
        return context


class Target(msgspec.Struct, frozen=True):
    """Where Redis is: a `path` of a socket, or else a host. `tls` is None for a connection in clear."""

    path: str = ""
    host: str = "localhost"
    port: int = 6379
    username: str = ""
    password: str = ""
    database: int = 0
    tls: Tls | None = None


def read(url: str) -> Target:
    """Read the URL. Raise ValueError for what is wrong, and for an option that not every connection would honour."""
    parts = urlsplit(url)
    # Like redis-py, and unlike the letter of the standard: `+` is a space in the query, the first of several counts.
    options = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    for name in options:
        _check(name, parts.scheme)
    return Target(
        path=unquote(parts.path) if parts.scheme == "unix" else "",
        host=unquote(parts.hostname or "localhost"),
        port=parts.port or 6379,
        username=unquote(parts.username or "") or options.get("username", ""),
        password=unquote(parts.password or "") or options.get("password", ""),
        database=_database(options.get("db"), "" if parts.scheme == "unix" else unquote(parts.path)),
        tls=_tls(options) if parts.scheme == "rediss" else None,
    )


def broker_url(url: str) -> str:
    """The same server, as a URL for kombu, which reads them in its own way."""
    target = read(url)
    user = f"{quote(target.username, safe='')}:{quote(target.password, safe='')}@" if target.password else ""
    if target.path:
        # Slashes stay: kombu takes the first off and puts it back.
        database = f"?virtual_host={target.database}" if target.database else ""
        return f"redis+socket://{user}{quote(target.path)}{database}"
    host = f"[{target.host}]" if ":" in target.host else quote(target.host, safe="")
    where = f"{user}{host}:{target.port}/{target.database}"
    if target.tls is None:
        return f"redis://{where}"
    # The two that decide about safety are always written out, whatever kombu's defaults are.
    named = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items() if name in TLS_OPTIONS}
    named["ssl_cert_reqs"] = target.tls.verify
    named["ssl_check_hostname"] = str(target.tls.check_hostname and target.tls.verify != "none").lower()
    return f"rediss://{where}?{urlencode(named, quote_via=quote)}"


def _check(name: str, scheme: str) -> None:
    if name not in OPTIONS:
        raise ValueError(f"the option {name} is not taken; known are {', '.join(sorted(OPTIONS))}")
    if name in TLS_OPTIONS and scheme != "rediss":
        raise ValueError(f"the option {name} needs rediss://")


def _database(option: str | None, path: str) -> int:
    number = path.replace("/", "") if option is None else option
    if number and not (number.isascii() and number.isdigit()):
        raise ValueError(f"{number} is not the number of a database")
    return int(number or 0)


def _tls(options: dict[str, str]) -> Tls:
    verify = options.get("ssl_cert_reqs", "required")
    if verify not in VERIFY:
        raise ValueError(f"ssl_cert_reqs must be one of {', '.join(VERIFY)}")
    check = options.get("ssl_check_hostname", "true").lower()
    if check not in FALSE | TRUE:
        raise ValueError("ssl_check_hostname must be true or false")
    return Tls(
        verify,
        check in TRUE,
        options.get("ssl_ca_certs"),
        options.get("ssl_ca_path"),
        options.get("ssl_certfile"),
        options.get("ssl_keyfile"),
        options.get("ssl_password"),
    )
