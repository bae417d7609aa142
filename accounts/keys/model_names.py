"""Names in a list of allowed models that mean nothing now: told, and not refused, for they may be right tomorrow."""

from __future__ import annotations

from typing import Final

from django.utils.text import Truncator
from django.utils.translation import gettext

from accounts.apps import accounts_config
from accounts.models import names_in
from gateway_project.lib.visible import visible

LONGEST: Final = 64


def warning_of(allowed_models: str) -> str:
    """A sentence that names the entries of this list that mean no model or alias now; "" where all do."""
    wanted = names_in(allowed_models)
    # Only then Redis is asked what is offered.
    unknown = accounts_config().unknown_models(wanted) if wanted else []
    if not unknown:
        return ""
    names = ", ".join(Truncator(visible(name)).chars(LONGEST) for name in unknown)
    warning = gettext("No model or alias has the name %(names)s now; requests for it get %(model)s.")
    return warning % {"names": names, "model": accounts_config().default_model}
