"""The whole examination, in the order in which one trouble causes the next."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from bridge.doctor import installation, services, upstream
from bridge.doctor.finding import Finding, fail, secrets_of, without
from bridge.doctor.patient import Patient

log = logging.getLogger(__name__)

Look = Callable[[Patient], Iterator[Finding]]

LOOKS: tuple[Look, ...] = (
    installation.settings,
    installation.data_dir,
    services.store,
    installation.database,
    installation.keys,
    services.ledger,
    services.web,
    upstream.lingma,
    upstream.instances,
    services.background,
)


def examine(patient: Patient) -> list[Finding]:
    """Run every examination in order; no secret of the settings is in the findings."""
    secrets = secrets_of(patient.env)
    return [without(secrets, finding) for look in LOOKS for finding in _taken(look, patient)]


def _taken(look: Look, patient: Patient) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(look(patient))
    except Exception as exc:  # an edge: one look that breaks must not hide the others
        log.exception("the look at %s broke", look.__name__)
        found.append(fail(look.__name__, f"this could not be examined: {exc}", "See the log above."))
    return found
