"""Every name of ours in Redis: what lies there, for how long, who writes it and who reads it.

A test finds any other `lgw:` in the code. Names end with a colon where something follows.
"""

from __future__ import annotations

from typing import Final

INSTANCE: Final = "lgw:instance:"
"""`<instance>`: JSON of its `InstanceStatus`, 15 s. Written by its web process; read by tasks, console and doctor."""

TIMELINE: Final = "lgw:timeline:"
"""`<instance>`: list of its last 200 transitions as JSON, the latest first, a week. Written by its web process; read by
the console."""

REPLACING: Final = "lgw:replacing:"
"""`<login>`: which web process replaces an instance of it, of which generation, and until when it may (hash), 10 min.
Written and read by web processes."""

WATCHED: Final = "lgw:watched"
"""There while somebody looks at the live page, or at the log of an instance: seconds. Written by web processes and the
console; web processes ask for it twice a second."""

LIVE: Final = "lgw:live"
"""Hash: start of a web process to its report for the live page, only while somebody looks, 40 s. Written by web
processes; read by them and the console."""

LOG_WANTED: Final = "lgw:log_wanted:"
"""`<instance>`: somebody looks at its log, 10 s. Written by the console; read by its web process."""

LOG: Final = "lgw:log:"
"""`<instance>`: JSON of the end of its log, without secrets, 10 s. Written by its web process; read by the console."""

MODES: Final = "lgw:modes:"
"""`<process>`: JSON of what is away for it, a few seconds. Written by every process; read by web and console."""

SCHEDULER: Final = "lgw:scheduler"
"""Name of the process that the scheduler is in, `worker` or `beat`, for ever. Written by the scheduler; read by web
processes and the doctor."""

PLACES: Final = "lgw:places"
"""Hash: web process to the places its keys hold. Written and read by web processes, a few seconds each."""

PEERS: Final = "lgw:peers"
"""Hash: web process to where it can be reached and which instances it has. Written and read by web processes, read by
the doctor; a few seconds each."""

ALERTS: Final = "lgw:alerts"
"""JSON: kinds of alerts to how many are open, a minute. Written by the checks; read by web processes."""

RETEST: Final = "lgw:trial:"
"""`<prompt>`: the turn that retests a prompt in doubt, 60 s; older versions beside know it by this name. Written and
read by web processes."""

CRASHES: Final = "lgw:crashes"
"""Hash: prompt to its exits, an hour each. Written and read by web processes."""

ROUTES: Final = "lgw:routes"
"""Counter of changes of aliases and prompts, for ever. Written by the console; read by web processes."""

ORDERS: Final = "lgw:orders"
"""Counter of changes of what operators want of instances and of logins, for ever. Written by the console and by web
processes; read by web processes."""

ATTEMPT: Final = "lgw:attempt:"
"""`<login>`: generation and number of the attempt that logs it in now, 20 s. Written and read by whoever runs one."""

KEYS_CHANGED: Final = "lgw:keys"
"""Channel: digests of keys that changed. Published when a key is saved; web processes subscribe."""

SCHEDULES: Final = "lgw:schedules"
"""Hash: name of a task to when it last succeeded, unix seconds, for ever. Written by the worker; read by the doctor."""

USAGE: Final = "lgw:usage"
"""Stream of usage rows until they are filed, of the beginnings of turns and of late token counts. Written by web
processes; read by the worker.
"""

SHARED_ROWS: Final = "lgw:shared_rows:"
"""`<hour>`: ids of refusals to the id of the row that they share (hash), a day, at most 10,000 each. Written by web
processes; read by pages."""

CONTENT: Final = "lgw:content"
"""Stream of logged contents, encrypted, until they are filed; at most 64 MiB. Written by web processes; read by the
worker."""

CONTENT_BYTES: Final = "lgw:content:bytes"
"""How many bytes of them wait (a number); as long as any do. Written by web processes, which read it before they add
one, and by the worker."""

RUN: Final = "lgw:run:"
"""`<start of a web process>`: since when its oldest open turn runs, unix seconds, 10 s. Written by that process; read
by the worker."""

SESSION: Final = "lgw:session:"
"""`<session>`: an idle entry as JSON, `SESSION_CACHE_TTL_SEC`. Written and read by web processes and the console."""

SESSIONS_AT: Final = "lgw:sessions:at:"
"""`<fingerprint>`: list of sessions that may be kept under it, the latest at the end; as long as they. Written and read
by web processes.

An entry says itself where it lies: what has moved on or expired is passed over.
"""

SESSIONS: Final = "lgw:sessions"
"""Sorted set: sessions by last use, for eviction; as long as they. Written by web processes, tidied by the worker; read
by both and the console."""

SESSIONS_OF: Final = "lgw:sessions:of:"
"""`<key>`: sorted set of its sessions by last use; as long as they. Written and read by web processes, tidied by the
worker."""

SESSIONS_KEYS: Final = "lgw:sessions:keys"
"""Sorted set: keys by how many sessions they have, with those that have expired since; as long as a session. Written
and read by web processes, tidied by the worker."""

SESSIONS_IN_USE: Final = "lgw:sessions:in_use"
"""Hash: session to the entry that a running turn took, with the end of its lease; 10 min. Written by web processes;
read by them, the worker and the console."""

SESSION_FORGOTTEN: Final = "lgw:session:forgotten:"
"""`<session>`: an operator gave it up; it is neither handed out nor remembered again. As long as a session, at least an
hour. Written by the console, the REST API and commands; read by web processes."""

RESPONSE: Final = "lgw:response:"
"""`<key>:<response>`: a stored response, `RESPONSES_TTL_SEC`. Written and read by web processes."""

RESPONSES: Final = "lgw:responses:"
"""`<key>`: sorted set of its responses by age; `<key>:bytes`: what all of them take; `all`: the same of all keys;
`keys`: the keys by that (sorted set). `RESPONSES_TTL_SEC`. Written and read by web processes."""

CELERY: Final = "lgw:celery:"
"""Before all names of Celery's: its queues, until their messages are taken. Written by whoever orders a task, mostly
the scheduler; read by the worker and the worker for log-ins."""

PROBES: Final = ("lgw:probe:1", "lgw:probe:2")
"""Numbers that a link writes to see whether the server takes writes, for ever. Written by web processes; read by
nobody, as the answer to the write is all that counts."""

LIMIT: Final = "lgw:limit:"
"""`<key or team>:<id>:<kind>`: what a key or a team has used. `requests` (sorted set) and `tokens` (hash), two minutes;
`turns` by the end of their leases (sorted set) and the tokens `reserved` for them (hash), a minute; `day:<start>`,
`week:<start>` and `month:<start>` (hash), two hours longer than they last. Written and read by web processes; read by
the console."""

PASTES: Final = "lgw:pastes:"
"""`<address>`: how many wrong keys were pasted there, and until when it waits (hash), 10 min. Written and
read by pages."""

LOG_INS: Final = "lgw:logins:"
"""Log-ins and codes that were tried, for an hour. `name:<digest>` and `address:<address>`: how many, and until when
they wait (hash); `code:<user>` likewise; `used:<digest>`: a code that was taken, 2 min; `failed:…`: how many failures
the audit log has counted. Written and read by pages."""

LIMIT_KINDS: Final = ("requests", "tokens", "turns", "reserved")

LIMIT_SHADOW: Final = "lgw:limit:shadow:"
"""`<start of the day>`: how often limits in shadow mode would have refused (hash), eight days. Fields: a key for all of
its requests, and `<key>:<k or t>:<limit>` for a limit of the key or of its team. Written by web processes; read by the
console."""


EVERYTHING: Final = "lgw:*"
"""The pattern of all of them."""


def limits(scope: str, id_: int) -> list[str]:
    """The names of what a key or a team has used, but for the periods."""
    return [f"{LIMIT}{scope}:{id_}:{kind}" for kind in LIMIT_KINDS]
