"""Pictures made for the tests."""

import base64
import struct
import zlib
from io import BytesIO

from PIL import Image

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def picture(kind="png", size=(8, 4), mode="RGB", colour=None, **options):
    """The bytes of a picture of one colour."""
    out = BytesIO()
    Image.new(mode, size, *([] if colour is None else [colour])).save(out, kind.upper(), **options)
    return out.getvalue()


def noise(size):
    """A PNG that cannot be compressed."""
    width, height = size
    out = BytesIO()
    Image.effect_noise((width, height), 100).save(out, "PNG")
    return out.getvalue()


def animation():
    """A GIF: a red frame, then a blue one."""
    out = BytesIO()
    red, blue = (Image.new("RGB", (200, 100), colour) for colour in ("red", "blue"))
    red.save(out, "GIF", save_all=True, append_images=[blue])
    return out.getvalue()


def bomb(width, height):
    """A PNG of a few bytes that promises so many pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = zlib.compress(bytes((width // 8 + 1) * 100))
    return PNG[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def opened(data):
    """The decoded picture."""
    image = Image.open(BytesIO(data))
    image.load()
    return image


def data_url(data, declared="image/png"):
    """As a client sends it."""
    return f"data:{declared};base64,{base64.b64encode(data).decode()}"


def bytes_of(url):
    """(type, bytes) of a data: URL."""
    head, _, encoded = url.partition(";base64,")
    return head.removeprefix("data:"), base64.b64decode(encoded, validate=True)
