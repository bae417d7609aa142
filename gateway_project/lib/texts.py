"""Texts of packages without Django, marked for translation where they are written; pages translate them."""

from __future__ import annotations


def gettext_noop(text: str) -> str:
    """Mark a text for the catalogue, whose tools look for this name. The text stays English here."""
    return text


class Text(str):
    """A marked text with values for placeholders such as `%(name)s`; as a string it is English. Values may be Texts."""

    __slots__ = ("template", "values")
    template: str
    values: dict[str, object]

    def __new__(cls, template: str, **values: object) -> Text:
        self = super().__new__(cls, template % values if values else template)
        self.template, self.values = template, values
        return self
