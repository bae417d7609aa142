"""Decode a request body, and say what is wrong with it; each format words that its own way."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, TypeVar, TypeVarTuple

import msgspec

T = TypeVar("T")
Rest = TypeVarTuple("Rest")
Path = tuple[str | int, ...]
FieldErrorCode = Literal[
    "invalid_json", "missing_required_parameter", "invalid_type", "invalid_value", "unsupported_parameter"
]

_MISFIT = re.compile(r"Expected `(?P<expected>.+?)`, got `(?P<got>.+?)`")
_WHERE = re.compile(r" - at `\$(?P<path>.*)`$")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
# Pairs and other escapes match first and stay, so only a half that stands alone is in the group `lone`.
_SURROGATES = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<lone>\\u[dD][89a-fA-F]..)|\\.", re.DOTALL)
_ARTICLES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
}

_BEGINNINGS = {b'"': "a string", b"[": "an array", b"t": "a boolean", b"f": "a boolean"}

WHITE_SPACE = b" \t\n\r"
"""What JSON allows between its signs."""

Integral = int | float | None
"""A whole number as JSON may write it: `10`, `10.0` or `1e1`. Read it with `integer_at`."""

MOST_REMEMBERED = 32
"""Lists of tools, read once: agents send the same with every request."""

LARGEST_REMEMBERED = 1 << 18  # bytes of one of them

LARGEST_INTEGER = (1 << 64) - 1


class FieldError(Exception):
    """
    One thing that is wrong with a body.

    `expected` and `got` come with `invalid_type`, as words with articles; `reason`, a sentence, with the others;
    `details` are for programs.
    """

    def __init__(
        self,
        code: FieldErrorCode,
        path: Path = (),
        *,
        expected: str = "",
        got: str = "",
        reason: str = "",
        details: dict[str, object] | None = None,
    ) -> None:
        # The arguments go to Exception too: tests and logs print them.
        super().__init__(code, path, expected or reason)
        self.code = code
        self.path = path
        self.expected = expected
        self.got = got
        self.reason = reason
        self.details = details


def decode(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw, at: Path = ()) -> T:
    """Decode, or raise a FieldError. `at` is where the body stands if it is a piece of a larger one."""
    try:
        return _decode(decoder, body)
    except msgspec.ValidationError as exc:
        # `from None`: the library's exception says nothing that the FieldError does not say.
        raise _misfit(str(exc), at) from None
    except msgspec.DecodeError as exc:
        raise FieldError("invalid_json", at, reason=f"{exc}.") from None
    except UnicodeDecodeError as exc:
        raise not_utf8(_first_in(bytes(body)) or exc, at) from None
    except RecursionError:
        # msgspec follows nesting by recursion, so a deep body raises RecursionError instead of a ValidationError.
        raise FieldError("invalid_json", at, reason="It is nested too deeply.") from None


def remembered(read: Callable[[tuple[bytes, ...], *Rest], T]) -> Callable[[tuple[bytes, ...], *Rest], T]:
    """The function with a memory for the items it has read lately; large ones go past it."""
    # Keyed by the raw bytes of the items: decoding the same 20 tools anew costs more than hashing their bytes.
    memory = lru_cache(MOST_REMEMBERED)(read)

    def recall(items: tuple[bytes, ...], /, *rest: *Rest) -> T:
        # The sum is a bound on memory: 32 lists of any size would be 32 bodies kept for ever.
        return memory(items, *rest) if sum(map(len, items)) <= LARGEST_REMEMBERED else read(items, *rest)

    return recall


def text_at(value: Any, path: Path) -> str:
    """The value if it is a string, else a FieldError: null and absent are missing."""
    if isinstance(value, str):
        return value
    if value is None:
        raise FieldError("missing_required_parameter", path)
    raise FieldError("invalid_type", path, expected="a string", got=type_name(value))


def integer_at(value: Integral, path: Path) -> int | None:
    """The whole number, however it was written; None if there is none. Raise a FieldError for one with a fraction."""
    if value is None:
        return None
    if isinstance(value, float) and not value.is_integer():
        # `10.0` and `1e1` are integers in JSON; some client libraries write them so.
        raise FieldError("invalid_type", path, expected="an integer", got="a decimal number")
    if abs(value) > LARGEST_INTEGER:
        raise FieldError("invalid_value", path, reason="The number is too large.")
    return int(value)


def type_name(value: Any) -> str:
    """A decoded value's JSON type, with its article."""
    name = type(value).__name__
    # A decoded null is `NoneType`, which has no entry in the table.
    return _ARTICLES.get({"list": "array", "dict": "object"}.get(name, name), "null")


def json_type(json: bytes) -> str:
    """The type of a JSON text by how it begins, with its article."""
    return _BEGINNINGS.get(json[:1], "a number")


def is_absent(raw: msgspec.Raw) -> bool:
    """Whether the field is absent or null; clients mean the same by both."""
    # An absent field has the default `Raw()`, which is empty.
    return bytes(raw) in (b"", b"null")


def not_utf8(problem: UnicodeDecodeError, at: Path = ()) -> FieldError:
    """The error of a body whose bytes are no text."""
    return FieldError("invalid_json", at, reason=f"It is not valid UTF-8 (byte {problem.start}).")


def schema_at(raw: msgspec.Raw, path: Path) -> bytes:
    """The JSON schema as it was sent; b"" if absent or null. Raise a FieldError for anything but an object."""
    schema = bytes(raw)
    if schema in (b"", b"null"):
        return b""
    if not schema.startswith(b"{"):
        raise FieldError("invalid_type", path, expected="an object", got=json_type(schema))
    # `{ }` is the schema `{}`, which means more to those who read it than one that allows everything.
    return schema if schema[1:-1].strip(WHITE_SPACE) else b"{}"


def _first_in(body: bytes) -> UnicodeDecodeError | None:
    """Where the text stops being one: what the decoder says is counted from the beginning of some string."""
    try:
        # msgspec reports the position inside the one string; people look for it in the body, so it is decoded again.
        body.decode()
    except UnicodeDecodeError as exc:
        return exc
    return None


def _decode(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # Only after a failure: looking for half surrogates in every body would cost each request for the sake of a
        # few.
        repaired = _without_lone_surrogates(bytes(body))
        if repaired == body:
            raise
        return decoder.decode(repaired)


def _without_lone_surrogates(body: bytes) -> bytes:
    # Half an emoji, from a client that cut a text between two UTF-16 units: JavaScript sends it, JSON forbids it.
    if b"\\ud" not in body and b"\\uD" not in body:
        return body
    return _SURROGATES.sub(lambda match: rb"\ufffd" if match["lone"] else match[0], body)


def _misfit(complaint: str, at: Path) -> FieldError:
    where = _WHERE.search(complaint)
    # msgspec writes the path as `$.messages[0].role`, below the piece that was decoded.
    path = (*at, *_steps(where["path"])) if where else at
    if misfit := _MISFIT.match(complaint):
        names = misfit["expected"].split(" | ")
        if "int" in names and "float" in names:  # a whole number in any notation
            names.remove("float")
        # null is accepted everywhere as "not given", so it is not named among what is expected.
        expected = [_ARTICLES.get(name, name) for name in names if name != "null"]
        return FieldError(
            "invalid_type", path, expected=" or ".join(expected), got=_ARTICLES.get(misfit["got"], "null")
        )
    return FieldError("invalid_value", path, reason=f"{_WHERE.sub('', complaint)}.")


def _steps(path: str) -> Path:
    return tuple(name or int(index) for name, index in _STEP.findall(path))
