"""OPTIONS.md, made from the fields of gateway_project/env.py: `make options` writes it, a house test compares it."""

import textwrap
import typing
from pathlib import Path

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from gateway_project.env import BASE_DIR, SECRETS, Environment

TARGET = Path("OPTIONS.md")
HEAD = """\
# Options

Made by `make options` from `gateway_project/env.py`: change it there, or in `tests/house/options.py`.

The gateway reads these variables from its environment and from `.env`; `.env.example` is a start. The environment goes
before the file, and an empty value is the default. A value that makes no sense stops the start with one line that names
it. Lists are separated by commas. Times are seconds.

{secrets}

"""

SYNTAX = {
    "database_url": "URL: `postgres://`, `postgresql://`, `sqlite://`",
    "redis_url": "URL: `redis://`, `rediss://`, `unix://`",
    "lingma_vsix_sha256": "64 hexadecimal digits",
    "lingma_attach_urls": "list: `ws://host:port`, `wss://host`, absolute paths",
    "lingma_ask_overrides": "JSON: modes to objects",
    "api_keys": "list of keys",
    "key_pepper": "text of 20 characters or more",
    "secret_keys": "list of texts of 20 characters or more",
    "allowed_hosts": "list of names",
    "trusted_proxies": "list of addresses and networks, or `*`",
    "csrf_trusted_origins": "list of origins",
    "cors_allowed_origins": "list of origins, or `*`",
    "tool_approval": "`deny`, `allow`, `allow:<name>,<name>`",
    "time_zone": "a name such as `Asia/Shanghai`",
    "node_name": "a name of at most 40 letters, digits, dots and hyphens",
    "peer_listen": "`host:port`",
    "peer_tls_cert": "path",
    "peer_tls_key": "path",
    "peer_tls_ca": "path",
    "lingma_bin": "path",
    "lingma_vsix": "path or URL",
    "dedicated_domain_url": "URL",
    "host": "address or name",
}
"""What a value looks like, where its type does not say it."""

MORE = {
    "database_url": """\
SQLite in `DATA_DIR` serves one machine well. PostgreSQL is for more than that. What
stands behind a `?` goes to libpq, such as `sslmode=verify-full`; two options are the gateway's own: `statement_sec` (5)
and `lock_sec` (4), the longest waits for a statement and for a lock. A `#` in the URL is written `%23`.""",
    "redis_url": """\
The embedded server is enough for one machine. An own server has to be 6.2 or newer, take writes, and never evict rows:
`maxmemory-policy noeviction`, with persistence, for usage rows rest there until they are in the database. A cluster, a
read-only replica or `allkeys` eviction ends the start. TLS is `rediss://`, with redis-py's `ssl_…` options in the URL.
Options the gateway does not know are refused.""",
    "web_processes": """\
One process uses one core. Each has its own `LINGMA_INSTANCES`; keys, limits, sessions and usage are shared, and a turn
that finds no place in its process runs on an instance of another. Each process needs some 130 MiB without its
instances.""",
    "peer_listen": """\
Several machines are one gateway when they share `DATABASE_URL`, `REDIS_URL`, `SECRET_KEY`, `SECRET_KEYS` and
`KEY_PEPPER` (or the file `secrets/keys` of `DATA_DIR`), and each has a `DATA_DIR` and a `NODE_NAME` of its own. Then a
turn that comes to another process than the one that holds its session is handed over to that one, by HTTP. Within a
machine this needs no settings. Between machines it needs an address that the others reach, the same `PEER_SECRET`
everywhere, and, unless the address is one of loopback, TLS: a certificate for that address, its key, and the authority
that signs those of all machines, who show them to each other.""",
    "lingma_attach_urls": """\
Attaches to services that somebody else starts and stops. A work directory, or the path of its `.info.json`, is better
than a URL: the service is found again after a change of port, and keeps its sessions over a lost connection. This
goes before `LINGMA_BIN`, and that before `LINGMA_VSIX`; without any of them the bundled simulator answers. With
`WEB_PROCESSES` of two or more all of them are attached to the same services, and it is unknown which prompt made one
of these exit: a turn is tried twice, and neither prompts nor keys are refused for it.""",
    "trusted_proxies": """\
Only these proxies may name the client's address. Without the proxy's address here every client has the same address
in logs, rows and the bound on connections. `*` believes everybody, which lets anybody choose the address that is
logged; a check warns of it. Under uvicorn and daphne it means the same.""",
    "default_model": """\
The Lingma model for a name that is neither a model of the account nor an alias. Clients request models by names of
their own, so most requests of a new installation end here; the response header `x-lingma-model` names the model that
answered. Aliases in the console are the better way to name models.""",
    "tool_mode": """\
`emulate` describes the tools in the prompt and reads calls from the model's text while it streams. It works with every
model. `bridge` runs requests with tools in Lingma's agent mode and shows the calls of Lingma's own agent. `forward` is
`bridge` and also sends the tools along as `toolConfig`, which Lingma is not known to read. An alias may choose another
mode for its model.""",
    "tool_approval": """\
Lingma's own agent may ask to run a command or to change a file on the machine that it runs on. `deny` refuses all,
`allow:<name>,<name>` allows tools by the exact names that Lingma reports, `allow` allows everything. The gateway runs
no tool itself. Each decision is in the log, the metrics and the usage row. Allow tools only where every client may do
there what they can do.""",
    "max_in_flight": """\
Turns beyond it wait up to `QUEUE_TIMEOUT_SEC` in a queue of `MAX_QUEUE`, and are refused after that: 429, in Messages
529. Zero means 8 for each instance, a guess, as no limit of Lingma is known. Lower it if Lingma answers 429 itself.
Places and queue are shared fairly between keys. The queue, and a key's half of it, are those of all web processes that
share a Redis, on all machines: each counts what the others have reported within the last half second. While Redis is
away each has a queue of its own of that size.""",
    "session_reuse_enabled": """\
A request that continues a conversation sends Lingma only what is new. Without it each request sends the whole history
and pays for it again, which is slower and easier to understand. `SESSION_REUSE_WITH_TOOLS` does the same for requests
with tools alone; `SESSION_CACHE_MAX_ENTRIES` and `SESSION_CACHE_TTL_SEC` set how many are remembered, and for how
long.""",
}
"""A paragraph for the settings that matter most."""


def shown(default: object) -> str:
    """A default as the documents spell it."""
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Path):
        return f"./{default}"
    if isinstance(default, list | dict):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def values(name: str, field: FieldInfo) -> str:
    """What may stand there: the choices, the type with its bounds, or the syntax in words."""
    if name in SYNTAX:
        return SYNTAX[name]
    if typing.get_origin(field.annotation) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(field.annotation))
    kind = {bool: "`true`, `false`", int: "integer", float: "number", Path: "path"}.get(field.annotation, "text")
    return f"{kind} {bounds(field)}".strip()


def bounds(field: FieldInfo) -> str:
    """`from 1 to 64`, `above 0`, or nothing."""
    texts = []
    for bound in field.metadata:
        match bound:
            case annotated_types.Ge(ge=least):
                texts.append(f"from {least}")
            case annotated_types.Gt(gt=below):
                texts.append(f"above {below}")
            case annotated_types.Le(le=most):
                texts.append(f"to {most}")
    return " ".join(texts)


def page() -> str:
    """The whole of OPTIONS.md."""
    rows = ["| variable | values | default | meaning |", "|---|---|---|---|"]
    for name, field in Environment.model_fields.items():
        default = shown(field.default)
        default_text = f"`{default}`" if default else "empty"
        rows.append(f"| `{name.upper()}` | {values(name, field)} | {default_text} | {field.description} |")
    more = "\n".join(f"### `{name.upper()}`\n\n{text}\n" for name, text in MORE.items())
    table = "\n".join(rows)
    names = ", ".join(f"`{name.upper()}`" for name in Environment.model_fields if name in SECRETS)
    secrets = textwrap.fill(f"A secret may be given as the path of a file that holds it, in `X_FILE`: {names}.", 120)
    return f"{HEAD.format(secrets=secrets)}{table}\n\n## The ten that matter most\n\n{more}"


if __name__ == "__main__":
    (BASE_DIR / TARGET).write_text(page(), encoding="utf-8")
