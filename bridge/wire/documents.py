"""Files in a request: those that are text become text, whatever their shape; the others are named in a warning."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from encodings.aliases import aliases
from urllib.parse import unquote, unquote_to_bytes

import msgspec

from bridge.wire.attached import Attached

FILE = "[file]"
"""What stands in the text for a file that cannot be read."""

IMAGE = "[image]"
PICTURES = ("image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp")
LARGEST_TEXT = 8 << 20
SNIFFED = 4096
"""Characters of base64 in which bytes must look like text before all of them are decoded."""

UTF8 = "utf-8-sig"
"""What reads a file whose encoding is not named, or not known."""

KINDS = {"application/pdf": "PDF", "image": "picture", "audio": "audio", "video": "video", "font": "font"}
"""Words for files of a type that is no text."""

BINARY = ("application/pdf", "application/zip", "application/msword", "image/", "audio/", "video/", "font/",
          "application/vnd.openxmlformats", "application/vnd.ms-", "application/vnd.oasis")  # fmt: skip
TEXTUAL = ("image/svg+xml",)
MAGIC = (b"%PDF-", b"PK\x03\x04", b"\x7fELF", b"\x1f\x8b", b"\xd0\xcf\x11\xe0")

_DATA_URL = re.compile(r"data:(?P<type>[^,]{0,200}?)(?P<base64>;base64)?,", re.IGNORECASE)
_CHARSET = re.compile(r";\s*charset=\"?(?P<name>[\w.:-]{1,40})", re.IGNORECASE)
_WORDS = re.compile(r"[a-z0-9]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# An allowed list, not everything Python can decode: its codecs include ones that decompress or are not of text.
_ENCODINGS = ("utf-8", "utf-16", "utf-32", "gb18030", "gbk", "gb2312", "big5", "shift_jis", "euc-jp", "euc-kr",
              "latin-1", "iso8859-1", "iso8859-15", "cp1252", "cp1251", "koi8-r", "ascii")  # fmt: skip


def _spelling(charset: str) -> str:
    """The name as the table of aliases has it: `UTF 8`, `utf--8` and `utf_8` are one."""
    return "_".join(_WORDS.findall(charset.lower()))


def _codecs() -> dict[str, str]:
    """Every spelling of a supported encoding, and what reads it."""
    known = {aliases.get(spelt, spelt): codecs.lookup(name).name for name in _ENCODINGS if (spelt := _spelling(name))}
    # `utf-8-sig` also reads plain UTF-8, and drops the byte order mark that editors on Windows write.
    known["utf_8"] = UTF8
    return known | {alias: known[module] for alias, module in aliases.items() if module in known}


# Python keeps every name that it is asked for, known or not, for as long as the process lives: it is never asked for
# one that a client sent.
_CODECS = _codecs()


class File(msgspec.Struct):
    """A file as any format gives it. `data` is base64, a `data:` URL, or with `plain` the text itself."""

    name: str = ""
    type: str = ""
    data: str = ""
    url: str = ""
    plain: bool = False


class _Content(msgspec.Struct):
    type: str
    data: bytes | str | None
    """Text if it came as text. None: it cannot be decoded, or need not be."""


def read_file(file: File, attached: Attached, placeholder: str = FILE) -> str:
    """The text that stands for the file; pictures and what is dropped are noted."""
    if not file.data:
        # A URL is not fetched for a file: only pictures are, where the bounds on addresses and sizes hold.
        attached.drop("file at a URL" if file.url else "file that is not in the request", file.name or file.url)
        return placeholder
    if file.plain:
        # The text came as text; there is nothing to decode and nothing to guess.
        return file.data
    if (picture := _picture(file)) is not None:
        attached.images.append(picture)
        return IMAGE
    content = _content(file)
    text = None if content.data is None else _text(content.data, content.type)
    if text is None:
        attached.drop(_kind(content), file.name)
        return placeholder
    return text


def titled(name: str, text: str) -> str:
    """The text under the name of its file."""
    # The cut comes first: a name may be as long as the body, and every step below reads all of it.
    shown = name[:256]
    if not shown.isprintable():  # sign by sign costs a second for as many names as fit into a body
        shown = "".join(each if each.isprintable() else " " for each in shown)
    return f"{shown}\n{text}" if shown and text else shown or text


def _picture(file: File) -> str | None:
    head = _DATA_URL.match(file.data)
    declared = _plain_type(head["type"] if head else file.type)
    if declared not in PICTURES:
        return None
    return file.data if head else f"data:{declared};base64,{file.data}"


def _content(file: File) -> _Content:
    head = _DATA_URL.match(file.data)
    declared = (head["type"] if head else "") or file.type
    start = head.end() if head else 0
    if _is_binary(_plain_type(declared)) or len(file.data) - start > LARGEST_TEXT * 4 // 3:
        return _Content(declared, None)
    if head and not head["base64"]:
        rest = file.data[start:]
        return _Content(declared, unquote_to_bytes(rest) if rest.isascii() else unquote(rest))
    encoded = file.data[start:] if head else file.data
    # A cut piece of base64 decodes only if its length is a multiple of 4, so the rest of the last group is dropped.
    beginning = "".join(encoded[:SNIFFED].split())
    sniffed = _decoded(encoded if len(encoded) <= SNIFFED else beginning[: len(beginning) // 4 * 4])
    if sniffed is None and not head:
        return _Content(declared, file.data)  # no base64: the text itself
    if sniffed is None or sniffed.startswith(MAGIC):
        # The first bytes are enough to see that it is no text: the other megabytes need not be decoded.
        return _Content("application/pdf" if sniffed and sniffed.startswith(b"%PDF-") else declared, None)
    return _Content(declared, _decoded(encoded))


def _decoded(encoded: str) -> bytes | None:
    """The bytes, with or without line breaks, padding and the alphabet of URLs; None if it is no base64."""
    # 45 and 95 are `-` and `_` of the URL alphabet, 43 and 47 are `+` and `/` of the plain one.
    compact = "".join(encoded.split()).translate({45: 43, 95: 47}).rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _text(data: bytes | str, declared: str) -> str | None:
    """The text, decoded if it came as bytes; None if they are not text in their encoding."""
    try:
        # What came as text needs no decoding: the charset is that of the file it was read from.
        text = data.removeprefix("\ufeff") if isinstance(data, str) else data.decode(_encoding(data, declared))
    except UnicodeDecodeError:
        return None
    # A control character means that binary data happened to decode. White space and escape (colours in the log of a
    # terminal) are allowed.
    return None if _CONTROLS.search(text) else text


def _encoding(data: bytes, declared: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    charset = _CHARSET.search(declared)
    return _CODECS.get(_spelling(charset["name"]), UTF8) if charset else UTF8


def _plain_type(declared: str) -> str:
    return declared.partition(";")[0].strip().lower()


def _is_binary(declared: str) -> bool:
    return declared.startswith(BINARY) and declared not in TEXTUAL


def _kind(content: _Content) -> str:
    declared = _plain_type(content.type)
    return KINDS.get(declared) or KINDS.get(declared.partition("/")[0]) or "file"
