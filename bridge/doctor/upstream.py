"""The Lingma executable, services to attach to, and the instances as their heartbeats report them."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from django.utils.translation import gettext, ngettext

from bridge.doctor.finding import Finding, fail, ok, warn
from bridge.doctor.installation_state import WAIT_SEC, InstallationState
from bridge.fleet import sizes
from bridge.lingma.errors import StartFailed, VsixError
from bridge.lingma.install import vsix
from bridge.lingma.process.endpoint import Endpoint
from bridge.models import InstanceOrder, Version
from bridge.models.order import ALL
from bridge.pool.instances import work_dirs
from bridge.status.instance import InstanceStatus
from bridge.status.states import InstanceState
from bridge.status.wanted import Mode

VERSION_SEC = 10.0


def lingma(state: InstallationState) -> Iterator[Finding]:
    """The executable, or the services to attach to, are there."""
    env = state.env
    if env.lingma_attach_urls:
        yield from map(_attached, env.lingma_attach_urls)
    elif env.lingma_bin:
        yield _executable(Path(env.lingma_bin))
    elif env.lingma_vsix:
        yield _unpacked(state)
    elif _is_installed(state):
        yield ok("lingma", gettext("a version that was installed is the default"))
    else:
        advice = gettext("Set LINGMA_BIN, LINGMA_VSIX or LINGMA_ATTACH_URLS for the real one.")
        yield warn("lingma", gettext("the bundled simulator: every answer is made up"), advice)


def _is_installed(state: InstallationState) -> bool:
    """By what instances say that run; while none does, by what they are to run."""
    if state.heartbeats:
        return all(each.upstream != "simulator" for each in state.heartbeats)
    return state.database_answers and Version.objects.filter(is_default=True).exists()


def _attached(url: str) -> Finding:
    try:
        parts = urlsplit(Endpoint.find(url).url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "wss" else 80)
    except (StartFailed, ValueError) as exc:
        reason = repr(exc.__cause__ or exc)
        what = gettext("%(path)s: no service has told its port there: %(error)s") % {"path": url, "error": reason}
        return fail("lingma", what, gettext("Start it, or correct the path."))
    place = {"place": f"{host}:{port}"}
    try:
        with closing(socket.create_connection((host, port), WAIT_SEC)):
            return ok("lingma", gettext("something listens at %(place)s") % place)
    except OSError as exc:
        what = gettext("nothing listens at %(place)s: %(error)s") % {**place, "error": exc}
        return fail("lingma", what, gettext("Start it, or correct LINGMA_ATTACH_URLS."))


def _unpacked(state: InstallationState) -> Finding:
    try:
        return _executable(vsix.find(state.data_dir / "binaries"))
    except VsixError as exc:
        # The supervisor unpacks at its start: missing before that is no failure.
        level = fail if state.started_at is not None else warn
        return level("lingma", str(exc), gettext("Restart the gateway: make run."))


def _executable(path: Path) -> Finding:
    """Ask it for its version; it sees none of our variables."""
    # The program is not ours, and our variables contain keys and passwords.
    variables = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - the operator names the program
            [path, "version"], capture_output=True, text=True, errors="replace", timeout=VERSION_SEC,
            env=variables, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        what = gettext("%(path)s did not tell its version in %(seconds)d s") % {"path": path, "seconds": VERSION_SEC}
        return warn("lingma", what, gettext("Is it the Lingma executable?"))
    except OSError as exc:
        what = gettext("%(path)s cannot be run: %(error)s") % {"path": path, "error": exc.strerror}
        return fail("lingma", what, gettext("Take the build for this machine; chmod +x."))
    shown = (done.stdout.strip().splitlines() or [""])[0][:100]
    if done.returncode or not shown:
        advice = gettext("Is it the Lingma executable, with the files beside it that came along?")
        what = gettext("%(path)s does not tell its version (exit code %(code)d)")
        return warn("lingma", what % {"path": path, "code": done.returncode}, advice)
    return ok("lingma", f"{path}, {shown}")


def instances(state: InstallationState) -> Iterator[Finding]:
    """One line each, and one when some are missing."""
    if not state.running:
        return
    if not state.redis_answers:
        what = gettext("none can be seen: they tell of themselves through Redis, which does not answer")
        advice = gettext("See to Redis first. Turns go on meanwhile; /readyz of each web process lists its instances.")
        yield warn("instances", what, advice)
        return
    yield from (_instance(state, status) for status in sorted(state.heartbeats, key=lambda each: each.name))
    env = state.env
    ordered = sizes.read_sizes() if state.database_answers else {}
    wanted = sum(sizes.size_of(number, ordered, env) for number in range(1, env.web_processes + 1))
    # Each web process starts its own instances, and each instance has a heartbeat.
    missing = wanted - sum(each.node == env.named_node for each in state.heartbeats)
    if missing > 0:
        advice = gettext("A web process is starting or down: see its log. Were settings changed since the start?")
        what = gettext("%(count)d of %(wanted)d give no sign of life") % {"count": missing, "wanted": wanted}
        yield fail("instances", what, advice)


def _instance(state: InstallationState, status: InstanceStatus) -> Finding:
    topic, error = "instances", f": {status.last_error}" if status.last_error else ""
    shown = gettext("%(instance)s is %(state)s") % {"instance": status.name, "state": gettext(status.state.label)}
    if status.is_named_twice:
        what = gettext("%(instance)s is the name of two instances") % {"instance": status.name}
        advice = gettext("Two gateways share this Redis: give each a NODE_NAME, or a Redis of its own.")
        return fail(topic, what, advice)
    match status.state:
        case InstanceState.READY | InstanceState.BUSY:
            return _serving(status, shown, error)
        case InstanceState.LOGIN_REQUIRED:
            return fail(topic, f"{shown}{error}", _log_in(state, status))
        case InstanceState.DEGRADED | InstanceState.FAILED:
            # Never "log in": that would not cure it (PROTOCOL 7.1).
            advice = gettext(status.account.advice) if status.account.advice else _see_log(state, status)
            return fail(topic, f"{shown}{error}", advice)
        case InstanceState.BACKOFF | InstanceState.STARTING if _fails(status):
            shown += ngettext(" after %(count)d restart", " after %(count)d restarts", status.restarts) % {
                "count": status.restarts
            }
            return fail(topic, f"{shown}{error}", _see_log(state, status))
        case _ if status.mode is not Mode.RUN:
            # Nothing but another order ends it.
            advice = gettext("It is held by order: manage.py pool start %(instance)s has it take turns again.")
            return warn(topic, f"{shown}{error}", advice % {"instance": _held_as(state, status)})
        case _ if status.maintenance is not None:
            end = f"{datetime.fromtimestamp(status.maintenance.until, UTC):%Y-%m-%d %H:%M} UTC"
            words = gettext("%(shown)s: in the maintenance window %(window)s until %(time)s")
            facts = {"shown": shown, "window": status.maintenance.name, "time": end}
            return warn(topic, words % facts, gettext("Then it takes turns by itself."))
        case InstanceState.COOLING:
            return _cooling(status, shown, error)
        case _:
            return warn(topic, f"{shown}{error}", gettext("Look again in a moment."))


def _held_as(state: InstallationState, status: InstanceStatus) -> str:
    """The name of the order that holds it: where the whole pool is paused, nobody has to start one after the other."""
    return ALL if state.database_answers and InstanceOrder.held([ALL]) else status.name


def _serving(status: InstanceStatus, shown: str, error: str) -> Finding:
    """Of one that takes turns."""
    if status.not_replaced:
        advice = gettext("It goes on as it is; the successor is tried again by itself.")
        return warn("instances", f"{shown}{error}", advice)
    if not status.models:
        advice = gettext("See whether its account has a plan, or an administrator allows it models.")
        return warn("instances", gettext("%(shown)s, but its account offers no model") % {"shown": shown}, advice)
    facts = {"instance": status.name, "version": status.version or "?", "models": status.models}
    words = ngettext(
        "%(instance)s is ready and logged in, version %(version)s, %(models)d model",
        "%(instance)s is ready and logged in, version %(version)s, %(models)d models",
        status.models,
    )
    return ok("instances", words % facts)


def _fails(status: InstanceStatus) -> bool:
    """It does not come up: one that hangs at each start is by turns starting and backing off."""
    return status.state is InstanceState.BACKOFF or bool(status.restarts and status.last_error)


def _see_log(state: InstallationState, status: InstanceStatus) -> str:
    if state.env.lingma_attach_urls:
        return gettext("It is tried again by itself. See the log of that service.")
    path = _work_dir(state, status) / "logs" / "lingma.log"
    return gettext("It is started again by itself. See %(path)s.") % {"path": path}


def _cooling(status: InstanceStatus, shown: str, error: str) -> Finding:
    """Why it takes no turns, and until when."""
    reasons = {
        "limited": gettext("its service refuses turns for a while"),
        "no_plan": gettext("the plan of its account is used up"),
        "failed": gettext("most turns fail there"),
    }
    facts = {
        "shown": shown,
        "reason": reasons.get(status.cools_for, gettext("by order")),
        "time": f"{datetime.fromtimestamp(status.cool_until, UTC):%H:%M:%S} UTC",
        "instance": status.name,
    }
    advice = gettext("Then it is tried by itself; manage.py pool clear %(instance)s ends the pause now.")
    what = gettext("%(shown)s until %(time)s, %(reason)s") % facts
    return warn("instances", f"{what}{error}", advice % facts)


def _work_dir(state: InstallationState, status: InstanceStatus) -> Path:
    name = status.name.removeprefix(f"{status.node}-") if status.node else status.name
    return work_dirs.in_use(state.data_dir / "instances" / name)


def _log_in(state: InstallationState, status: InstanceStatus) -> str:
    if state.env.lingma_attach_urls:
        return gettext("Log in with the client that started this service.")
    words = gettext(
        "Give it a login: the console's Logins, or manage.py lingma_login. Or stop the gateway and copy cache/user and "
        "cache/id of a logged-in Lingma, or its whole work directory, to %(path)s; then start it."
    )
    return words % {"path": _work_dir(state, status)}
