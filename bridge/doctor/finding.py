"""One line of the doctor's: how bad, about what, and what to do; spelled without secrets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import msgspec
from pydantic import SecretStr

from gateway_project.lib.visible import visible

if TYPE_CHECKING:
    from gateway_project.env import Environment

Level = Literal["ok", "warn", "fail"]

SHORTEST_SECRET = 4


class Finding(msgspec.Struct, frozen=True):
    """`warn` works but wants attention; `fail` does not work."""

    level: Level
    topic: str
    what: str
    advice: str = ""


def ok(topic: str, what: str) -> Finding:
    return Finding("ok", topic, what)


def warn(topic: str, what: str, advice: str) -> Finding:
    return Finding("warn", topic, what, advice)


def fail(topic: str, what: str, advice: str) -> Finding:
    return Finding("fail", topic, what, advice)


def secrets_of(env: Environment) -> list[str]:
    """Every secret of the settings, passwords in URLs included, the longest first."""
    found = list(env.api_keys)
    for name in type(env).model_fields:
        value = getattr(env, name)
        # SECRET_KEYS are several.
        found += [each.get_secret_value() for each in _several(value) if isinstance(each, SecretStr)]
    for url in (env.database_url, env.redis_url, env.lingma_vsix, env.dedicated_domain_url, *env.lingma_attach_urls):
        # By hand, as it may be one that nobody can read, and the doctor is asked why nothing works.
        place, _, query = url.partition("://")[2].partition("#")[0].partition("?")
        found += [place.partition("/")[0].rpartition("@")[0].partition(":")[2], query]
    # The longest first: one secret may contain another, and half of it would stay. Very short ones would blank out
    # words.
    return sorted((each for each in found if len(each) >= SHORTEST_SECRET), key=len, reverse=True)


def _several(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def without(secrets: Iterable[str], finding: Finding) -> Finding:
    """The finding on one line each, with no secret in it."""
    # Errors of other programs may have line breaks and control characters.
    what, advice = (visible(" ".join(text.split())) for text in (finding.what, finding.advice))
    for secret in secrets:
        what, advice = what.replace(secret, "…"), advice.replace(secret, "…")
    return Finding(finding.level, finding.topic, what, advice)


def as_text(findings: list[Finding]) -> str:
    """For people: a line each, what to do below it, and a verdict."""
    lines = []
    for each in findings:
        lines.append(f"{each.level:<5} {each.topic:<10} {each.what}")
        lines += [f"{'':<16} -> {each.advice}"] if each.advice else []
    failed, warned = (sum(each.level == level for each in findings) for level in ("fail", "warn"))
    verdict = f"{failed} to mend, {warned} to look at" if failed or warned else "all is well"
    return "\n".join([*lines, verdict])


def as_json(findings: list[Finding]) -> str:
    """For machines: `ok` is false when something failed."""
    report = {"ok": all(each.level != "fail" for each in findings), "findings": findings}
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
