"""By which ids clients call themselves and their conversations, and which of those nobody can guess. Pure."""

from __future__ import annotations

import re

import msgspec

from bridge.chat.request import NOBODY, ClientIds

# Versions 4 and 7, which are drawn by lot; the others are made of a clock, a name or the address of a machine.
# The digits 4 or 7 and one of 89ab are where a UUID shows its version and variant.
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[47][0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}", re.IGNORECASE)
_OPENCODE = re.compile(r"ses_[0-9a-f]{12}([0-9A-Za-z]{14})")
_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
# Runs and repeated digits: constants that a person typed into a configuration.
_BY_HAND = re.compile("01234|12345|abcde|deadbeef|(.)\\1{5}")
_FEWEST_CHARACTERS, _FEWEST_TOKENS = 8, 4

SAMPLES = frozenset({
    "550e8400e29b41d4a716446655440000", "f47ac10b58cc4372a5670e02b2c3d479", "919108f752d143209bacf847db4148a8",
    "017f22e279b07cc398c4dc0c0c07398f", "3fa85f6457174562b3fc2c963f66afa6", "497f6eca62764993bfeb53cbbbba6f08",
    "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d", "1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed", "6ec0bd7f11c043da975e2a8ad9ebae0b",
    "110ec58aa0f24ac48393c866d813b8d1", "16fd27068baf433b82eb8c7fada847da", "936da01f9abd4d9d80c702af85c822a8",
    "7c9e6679742540de944be07fc1f90ae7", "67e5504410b1426f9247bb680e5fe0c8", "c73bcdcc26694bf681d3e4ae73fb11fd",
    "109156bec4fb41eab1b4efe1671c5836",
})  # fmt: skip
"""UUIDs out of standards and the documents of libraries, which people copy."""


def of_fields(**fields: msgspec.Raw | str | None) -> ClientIds:
    """The ids in a body, by name. Applications put constants there, so none of them proves anything."""
    # Kept with their field's name, so that the same value in another field is another id.
    values = tuple(f"{name} {text}" for name, field in fields.items() if field and (text := _text(field)) != "null")
    return ClientIds(values) if values else NOBODY


def _text(field: msgspec.Raw | str) -> str:
    """Any value as the JSON it was, near enough."""
    return f'"{field}"' if isinstance(field, str) else bytes(field).decode("utf-8", "replace")


def is_random(text: str) -> bool:
    """Whether it is an id as agents draw them by lot: a UUID (Claude Code, Codex) or opencode's own kind."""
    if found := _OPENCODE.fullmatch(text):
        # A base 62 id from a lot mixes cases and digits: a word that fits the pattern has few changes between them.
        return len(_TOKEN.findall(found[1])) >= _FEWEST_TOKENS and len(set(text)) >= _FEWEST_CHARACTERS
    return is_random_uuid(text)


def is_random_uuid(text: str) -> bool:
    """Whether it is a UUID that nobody can guess."""
    if not _UUID.fullmatch(text):
        return False
    digits = text.replace("-", "").lower()
    # Without hyphens and in lower case, so that a sample copied in any notation is found.
    return digits not in SAMPLES and len(set(digits)) >= _FEWEST_CHARACTERS and not _BY_HAND.search(digits)
