"""What an image is by its first bytes. What a client says about it is not asked."""

from __future__ import annotations

from typing import Literal

Kind = Literal["png", "jpeg", "gif", "webp"]


def kind_of(data: bytes) -> Kind | None:
    """The type by magic bytes, or None for everything that is not one of the four."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return None
