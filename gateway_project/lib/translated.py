"""What marked texts are in the language of the reader."""

from __future__ import annotations

from django.utils.translation import gettext

from gateway_project.lib.texts import Text


def translated(text: Text) -> str:
    """The text and those among its values, in the language of this request."""
    values = {name: translated(value) if isinstance(value, Text) else value for name, value in text.values.items()}
    # The template is looked up and then filled: the filled text stands in no catalogue.
    return gettext(text.template) % values if values else gettext(text.template)
