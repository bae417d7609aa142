"""What Django's `check` says about the settings: each finding names the variable and what to do."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags

from bridge.lingma.install.download import can_fetch
from gateway_project.lib.secrets import private

if TYPE_CHECKING:
    from gateway_project.env import Environment

TAG = "lingma"
SHORTEST_SECRET = 32
SHORTEST_TOKEN = 16
FEWEST_SIGNS = 8


def check_lingma(**_: Any) -> list[CheckMessage]:
    """The executable, or what it is taken from."""
    env: Environment = settings.ENV
    if env.lingma_bin and not env.lingma_attach_urls and not _executable(Path(env.lingma_bin)):
        return [
            Error(
                f"LINGMA_BIN: {env.lingma_bin} is not an executable file.",
                hint="Correct the path, or chmod +x the file.",
                id="lingma.E001",
            )
        ]
    if env.takes_vsix and not can_fetch(env.lingma_vsix) and not Path(env.lingma_vsix).is_file():
        return [
            Error(
                f"LINGMA_VSIX: {env.lingma_vsix} is neither a file nor an http(s) URL.",
                hint="Correct the path.",
                id="lingma.E002",
            )
        ]
    return []


def check_exposure(**_: Any) -> list[CheckMessage]:
    """What other machines on the network would see of this installation."""
    env: Environment = settings.ENV
    if is_local(env.host):
        return []
    found: list[CheckMessage] = []
    if settings.DEBUG:
        debug = f"DEBUG is on and the gateway listens on {env.host}: errors show its settings to the network."
        found.append(checks.Warning(debug, hint="Set DEBUG=false, or HOST=127.0.0.1.", id="lingma.W006"))
    elif not settings.SESSION_COOKIE_SECURE:
        cookies = "Passwords and cookies of the admin console cross the network in the clear."
        hint = "Put a TLS proxy in front and name its https:// origin in CSRF_TRUSTED_ORIGINS."
        found.append(checks.Warning(cookies, hint=hint, id="lingma.W001"))
    if all(map(is_local, settings.ALLOWED_HOSTS)):
        hosts = "ALLOWED_HOSTS names this machine only: to others the admin console answers 400."
        found.append(checks.Warning(hosts, hint="Add the name or address they use.", id="lingma.W002"))
    return found


def check_proxies(**_: Any) -> list[CheckMessage]:
    """Whether TRUSTED_PROXIES lets any client choose the address it is known by."""
    trusted = settings.ENV.trusted_proxies
    if not any(name == "*" or name.endswith("/0") for name in trusted):
        return []
    what = "TRUSTED_PROXIES believes everybody: any client may name its own address, and may hold every connection."
    return [checks.Warning(what, hint="Name the proxies alone, by address or network.", id="lingma.W008")]


def check_secrets(**_: Any) -> list[CheckMessage]:
    """Secrets that can be guessed. What the gateway made itself is long enough."""
    env: Environment = settings.ENV
    given = (
        ("SECRET_KEY", env.secret_key, SHORTEST_SECRET),
        ("ADMIN_TOKEN", env.admin_token, SHORTEST_TOKEN),
        ("METRICS_TOKEN", env.metrics_token, SHORTEST_TOKEN),
    )
    weak = [name for name, secret, shortest in given if _is_weak(secret.get_secret_value(), shortest)]
    hint = 'Take the output of: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
    return [checks.Warning(f"{name} can be guessed.", hint=hint, id="lingma.W003") for name in weak]


def check_tools(**_: Any) -> list[CheckMessage]:
    """Whether the service may run every tool it likes."""
    if settings.ENV.tool_approval.strip().lower() != "allow":
        return []
    hint = "List the tools it may use, as in TOOL_APPROVAL=allow:read_file,list_dir."
    return [checks.Warning("TOOL_APPROVAL=allow lets the service run any tool here.", hint=hint, id="lingma.W004")]


def check_metrics(**_: Any) -> list[CheckMessage]:
    """Whether web processes that the supervisor did not start would count together."""
    # The supervisor makes this directory before it starts the web processes.
    supervised = (settings.DATA_DIR / "metrics").is_dir()
    if settings.ENV.web_processes == 1 or supervised or os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return []
    hint = "`make run` sets it. Whoever starts the web processes otherwise names an empty directory there."
    what = "PROMETHEUS_MULTIPROC_DIR is unset: each of the WEB_PROCESSES would show its own figures at /metrics."
    return [checks.Warning(what, hint=hint, id="lingma.W005")]


def check_privacy(**_: Any) -> list[CheckMessage]:
    """Whether other users of this machine can read what is kept."""
    database = settings.DATABASES["default"]
    # The database of SQLite may lie outside of DATA_DIR.
    file = Path(database["NAME"]) if database["ENGINE"].endswith("sqlite3") else None
    wide = private.exposed(settings.DATA_DIR, file)
    if not wide:
        return []
    what = f"DATA_DIR: other users of this machine can read {wide[0]}"
    what += f" and {len(wide) - 1} more." if wide[1:] else "."
    hint = "`make run` mends what is its own. Else: chmod -R go-rwx, or give the directory to the gateway's user."
    return [checks.Warning(what, hint=hint, id="lingma.W007")]


CHECKS = (
    (check_lingma, (TAG,)),
    (check_exposure, (TAG, Tags.security)),
    (check_proxies, (TAG, Tags.security)),
    (check_secrets, (TAG, Tags.security)),
    (check_tools, (TAG, Tags.security)),
    (check_metrics, (TAG,)),
    (check_privacy, (TAG, Tags.security)),
)


def is_local(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        # A name is not resolved: a check must not wait for DNS.
        return host == "localhost"


def _executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _is_weak(secret: str, shortest: int) -> bool:
    # An empty secret is one that is not used. Few different characters are a pattern, however long.
    return bool(secret) and (len(secret) < shortest or len(set(secret)) < FEWEST_SIGNS)
