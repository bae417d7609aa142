"""All checks, in the order in which one failure causes the next."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from django.utils.translation import gettext

from bridge.doctor import clocks, components, installation, logins, peers, schedules, upstream, versions
from bridge.doctor.finding import Finding, fail, secrets_of, without
from bridge.doctor.installation_state import InstallationState

log = logging.getLogger(__name__)

Check = Callable[[InstallationState], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    installation.settings,
    installation.data_dir,
    components.store,
    installation.database,
    installation.keys,
    components.ledger,
    components.web,
    upstream.lingma,
    upstream.instances,
    versions.versions,
    logins.logins,
    peers.peers,
    components.background,
    schedules.schedules,
    clocks.clocks,
)
TOPICS: Mapping[Check, str] = {
    installation.data_dir: "data",
    components.store: "redis",
    components.background: "worker",
}
"""Of those that are not called as what they look at."""


def run_checks(state: InstallationState) -> list[Finding]:
    """Run every check in order; no secret of the settings is in the findings."""
    secrets = secrets_of(state.env)
    return [without(secrets, finding) for check in CHECKS for finding in _guarded(check, state)]


def _guarded(check: Check, state: InstallationState) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check(state))
    except Exception as exc:  # an edge: one check that breaks must not hide the others
        log.exception("the look at %s broke", check.__name__)
        what = gettext("this could not be examined: %(problem)s") % {"problem": exc}
        found.append(fail(TOPICS.get(check, check.__name__), what, gettext("See the log.")))
    return found
