"""
The parts of a message's content, as OpenAI has them in both of its formats.

Those of others are read too: results of tools come in the shapes of MCP or Anthropic, and as the JSON text of such a
list.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from bridge.wire.attached import Attached
from bridge.wire.bodies import FieldError, Path, decode, text_at, type_name
from bridge.wire.bounds import is_crowded, shown
from bridge.wire.documents import IMAGE, File, read_file, titled

TEXTS = ("text", "input_text", "output_text", "summary_text", "reasoning_text")
IMAGES = ("image_url", "input_image", "image", "computer_screenshot")
FILES = ("file", "input_file", "document", "resource")
# OpenAI's input audio and video: Lingma takes text and pictures only, so a word stands in their place.
DROPPED = {"input_audio": "audio", "audio": "audio", "input_video": "video", "video_url": "video", "video": "video"}
"""Parts that cannot be passed on, and what stands for them in the text."""

BEGINNINGS = ("[", "{", " ", "\n", "\r", "\t")
"""How a text begins that may be the JSON of parts."""

_LIST = re.compile(r"\s*[\[{]")
_PICTURE = re.compile(r'"type"\s*:\s*"(?:image|input_image|image_url|computer_screenshot)"')
_PICTURE_URL = re.compile(r"data:image/|https?://", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_=\s-]{16}")


class Part(msgspec.Struct, gc=False):
    """A part of any type. What differs by type is read later."""

    type: str | None = None
    text: Any = None
    refusal: Any = None
    image_url: Any = None
    file_id: Any = None
    source: msgspec.Raw = msgspec.Raw()
    data: Any = None
    mime_type: Any = msgspec.field(default=None, name="mimeType")
    file: msgspec.Raw = msgspec.Raw()
    file_data: Any = None
    file_url: Any = None
    filename: Any = None
    resource: msgspec.Raw = msgspec.Raw()


class _Source(msgspec.Struct, gc=False):
    """Anthropic's `source`, OpenAI's `file`, MCP's `resource`."""

    type: str | None = None
    media_type: str | None = None
    mime_type: str | None = msgspec.field(default=None, name="mimeType")
    data: str | None = None
    url: str | None = None
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None
    text: str | None = None
    blob: str | None = None
    uri: str | None = None


class _Wrapped(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The result of an MCP tool, a list of parts in an object."""

    content: list[Part]
    is_error: bool | None = msgspec.field(default=None, name="isError")


_SOURCE = msgspec.json.Decoder(_Source | None)
_PACKED = msgspec.json.Decoder(list[Part] | _Wrapped)
Content = str | list[Part] | None


def read_content(content: Content, at: Path, attached: Attached) -> str:
    """The texts of all parts, one per line."""
    if not isinstance(content, list):
        return content or ""
    if len(content) == 1 and isinstance(text := content[0].text, str) and content[0].type in TEXTS:
        return text  # as most are
    texts = [read_part(part, (*at, index), attached) for index, part in enumerate(content)]
    return "\n".join(text for text in texts if text)


def read_result(content: Content, at: Path, attached: Attached) -> str:
    """What a tool gave back; a lone text may be the JSON of parts."""
    if isinstance(content, list) and len(content) == 1 and content[0].type in TEXTS:
        # One text part is how MCP servers wrap a whole result: its text may itself be the JSON of a list of parts.
        content = text_at(content[0].text, (*at, 0, "text"))
    return unpacked(content, attached) if isinstance(content, str) else read_content(content, at, attached)


def may_be_parts(text: str) -> bool:
    """Whether a text begins like the JSON of parts; most do not."""
    return text[:1] in BEGINNINGS and _LIST.match(text) is not None


def unpacked(text: str, attached: Attached) -> str:
    """The text, or what the parts say whose JSON it is: only if there is a picture among them, else to the letter."""
    if not (may_be_parts(text) and _PICTURE.search(text)):
        return text
    # The text may hold half of a surrogate pair, which UTF-8 cannot write.
    json = text.encode("utf-8", "replace")
    if is_crowded(json):
        return text
    # Collected apart, so that an error further on leaves nothing of it in the caller's `attached`.
    inside = Attached()
    try:
        found = decode(_PACKED, json)
        # A result of MCP wraps its parts in an object with `content`; others send the bare list.
        parts = found.content if isinstance(found, _Wrapped) else found
        if not all(map(_is_plain, parts)):
            return text
        text_of_parts = read_content(parts, (), inside)
    except FieldError:
        return text
    if not inside.images:
        return text
    attached.add(inside)
    return text_of_parts


def read_part(part: Part, at: Path, attached: Attached) -> str:
    """What stands for the part in the text; "" for nothing. Raise a FieldError if it lacks what its type needs."""
    match part.type:
        case kind if kind in TEXTS:
            return text_at(part.text, (*at, "text"))
        case "refusal":
            return text_at(part.refusal, (*at, "refusal"))
        case None:
            # Nothing in the part shows its type: guessing one would hide a mistake of the client.
            raise FieldError("missing_required_parameter", (*at, "type"))
        case kind if kind in IMAGES:
            attached.images.append(_image(part, at))
            return IMAGE
        case kind if kind in FILES:
            file = _file(part, at)
            return titled(file.name, read_file(file, attached))
        case kind if kind in DROPPED:
            attached.drop(DROPPED[kind])
            return f"[{DROPPED[kind]}]"
        case _:
            return _unknown(part, attached)


def _unknown(part: Part, attached: Attached) -> str:
    if isinstance(part.text, str):
        # A type that is not known here, but has a text: the text is what the model can use.
        return part.text
    attached.drop("part of type", shown(part.type or ""))
    return ""


def _image(part: Part, at: Path) -> str:
    """The address of an image; some clients send it bare, without the object around it, or as Anthropic or MCP do."""
    if len(part.source):
        return _source_image(decode(_SOURCE, part.source, (*at, "source")) or _Source(), (*at, "source"))
    if isinstance(part.data, str):
        kind = part.mime_type if isinstance(part.mime_type, str) else "image/png"
        return f"data:{kind};base64,{part.data}"
    where, url = (*at, "image_url"), part.image_url
    if url is None and part.file_id is not None:
        # OpenAI lets an image be named by the id of an upload. There is no upload endpoint behind this gateway.
        reason = "There are no uploaded files here: send `image_url` with a data URL."
        raise FieldError("unsupported_parameter", (*at, "file_id"), reason=reason)
    if isinstance(url, dict):
        return text_at(url.get("url"), (*where, "url"))
    if url is None or isinstance(url, str):
        return text_at(url, where)
    raise FieldError("invalid_type", where, expected="an object", got=type_name(url))


def _source_image(source: _Source, at: Path) -> str:
    if source.url:
        return source.url
    # Without a type PNG is assumed; the upload reads the real one from the first bytes.
    return f"data:{source.media_type or 'image/png'};base64,{text_at(source.data, (*at, 'data'))}"


def _file(part: Part, at: Path) -> File:
    """The file in one shape; every type keeps it in another field."""
    for name in ("file", "source", "resource"):
        if len(raw := getattr(part, name)):
            inner = decode(_SOURCE, raw, (*at, name)) or _Source()
            # Anthropic's `text` source keeps plain text in `data`; everywhere else `data` is base64.
            plain = inner.text if inner.text is not None else inner.data if inner.type == "text" else None
            return File(
                name=inner.filename or inner.uri or _text(part.filename),
                type=inner.media_type or inner.mime_type or "",
                data=plain if plain is not None else inner.file_data or inner.data or inner.blob or "",
                url=inner.url or "",
                plain=plain is not None,
            )
    return File(name=_text(part.filename), data=_text(part.file_data), url=_text(part.file_url))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_plain(part: Part) -> bool:
    """A part that is surely one, and not some other JSON: a text, or a picture whose bytes or address are there."""
    if part.type in TEXTS:
        return isinstance(part.text, str)
    if part.type not in IMAGES:
        return part.type in FILES or part.type in DROPPED
    if isinstance(part.data, str):
        return _BASE64.match(part.data) is not None
    try:
        return _PICTURE_URL.match(_image(part, ())) is not None
    except FieldError:
        return False
