"""Decodes an image to know that it is one, and makes it smaller when it is too large. Call it in a thread."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Final

import msgspec
from PIL import Image, ImageOps

from bridge.images.sniff import Kind

MOST_PIXELS: Final = 50_000_000
MOST_MEMORY: Final = 320 << 20
"""Bytes that one image may take while it is made smaller: what it is decoded to, and copies of that."""
MOST_SCANS: Final = (
    200  # a progressive JPEG has about ten; each of thousands of empty ones costs a pass over all pixels
)
REDUCING_GAP: Final = 1.5  # a large JPEG is decoded at a fraction, which costs a quarter and looks the same
JPEG_QUALITY: Final = 85
LITTLE_WORK: Final = 2048 * 2048
"""Pixels, times the scans of a JPEG: 0.1 s or so."""
STEP: Final = 8192  # bytes of a GIF that are decoded in one go, during which nobody else in the process runs
SCALABLE: Final = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})
DEEP: Final = frozenset({"I", "I;16", "I;16B", "I;16L", "F"})

# What Pillow's readers are known to raise for bytes that are no image.
UNREADABLE: Final = (
    OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError,
    struct.error, zlib.error,
)  # fmt: skip
BOMBS: Final = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class Unusable(Exception):
    """Not an image that can be passed on; `code` is OpenAI's name for it."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class TooMuchWork(Exception):
    """It would take longer than was allowed."""


class Prepared(msgspec.Struct, frozen=True):
    """An image that was decoded once without a complaint. `pixels` is what that cost."""

    kind: Kind
    data: bytes
    pixels: int = 0


def prepare(
    data: bytes,
    kind: Kind,
    *,
    max_side: int,
    max_bytes: int,
    pixels_left: int = MOST_PIXELS,
    only_little: bool = False,
) -> Prepared:
    """The very bytes when side and size are within the limits, else a smaller image. Raise Unusable.

    `pixels_left` is what the images of one request may still cost. With `only_little`, raise TooMuchWork for an image
    that is no LITTLE_WORK, before there was any.
    """
    # The marker is counted without parsing: it may be found too often, but never too rarely.
    scans = data.count(b"\xff\xda") if kind == "jpeg" else 1
    if scans > MOST_SCANS:
        raise Unusable("it has too many scans", "image_parse_error")
    try:
        # One decoder only. Pillow's others would be tried on bytes from outside, and some start programs.
        with Image.open(BytesIO(data), formats=[kind.upper()]) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:  # by the header, before any pixel has cost anything
                raise _too_many_pixels()
            if width * height > pixels_left:
                raise Unusable("the images of the request have too many pixels together", "image_too_large")
            # More bytes than may be uploaded mean that it has to be encoded anew, which is much work too.
            if only_little and (width * height * scans > LITTLE_WORK or len(data) > max_bytes):
                raise TooMuchWork
            if kind == "gif":
                image.decodermaxblock = STEP
            return _prepared(image, Prepared(kind, data, width * height), max_side, max_bytes)
    except BOMBS:
        raise _too_many_pixels() from None
    except UNREADABLE:
        raise Unusable(f"it cannot be decoded as {kind.upper()}; it may be cut off", "image_parse_error") from None


def _prepared(image: Image.Image, given: Prepared, max_side: int, max_bytes: int) -> Prepared:
    if given.pixels * _bytes_per_pixel(image, given.kind) > MOST_MEMORY:
        raise _too_many_pixels(MOST_MEMORY // _bytes_per_pixel(image, given.kind))
    if max(image.size) <= max_side and len(given.data) <= max_bytes:
        # Decoded though the bytes are passed on as they are: a broken image would fail at the service, in the middle
        # of the turn.
        image.load()
        return given
    smaller = _scalable(image)
    # Made smaller before it is turned: turning a small image costs less, and the side is the same.
    smaller.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, REDUCING_GAP)
    upright = ImageOps.exif_transpose(smaller)
    upright.info = {}  # no metadata goes along
    return _within(upright, given, max_bytes)


def _bytes_per_pixel(image: Image.Image, kind: Kind) -> int:
    """As measured: the decoded image, its copy in another mode, and what the decoder itself holds."""
    if kind == "webp":
        return 16
    if "transparency" in image.info:
        return 14
    return 6 if image.mode in {"1", "L", "P", "RGB", "CMYK"} else 10


def _scalable(image: Image.Image) -> Image.Image:
    """The image in a mode that can be averaged; itself if it is in one, so that a JPEG may be decoded at a fraction."""
    transparent = "transparency" in image.info
    if image.mode in SCALABLE and not transparent:
        return image
    if image.mode in DEEP:
        # 16 bits to 8. A direct conversion would cut off everything above 255.
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image.convert("RGBA" if transparent or image.mode == "PA" else "RGB")


def _within(image: Image.Image, given: Prepared, max_bytes: int) -> Prepared:
    """Encoded; as JPEG, and then ever smaller, if it still has too many bytes."""
    kind = given.kind
    data = _encoded(image, kind)
    while len(data) > max_bytes:
        # It ends: as a JPEG, every round leaves a quarter of the pixels.
        image = image.reduce(2) if kind == "jpeg" else _opaque(image)
        kind = "jpeg"
        data = _encoded(image, kind)
    return Prepared(kind, data, given.pixels)


def _opaque(image: Image.Image) -> Image.Image:
    # JPEG has no transparency, and what is clear would become black.
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _encoded(image: Image.Image, kind: Kind) -> bytes:
    out = BytesIO()
    quality = {} if kind in {"png", "gif"} else {"quality": JPEG_QUALITY}
    image.save(out, kind.upper(), **quality)
    return out.getvalue()


def _too_many_pixels(most: int = MOST_PIXELS) -> Unusable:
    return Unusable(f"it has more than {most // 1_000_000} million pixels", "image_too_large")
