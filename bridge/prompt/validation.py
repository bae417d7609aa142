"""Whether the arguments of a call are what its tool's schema asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.exceptions import UnknownType, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from bridge.chat.request import Tool

_LONGEST = 300
_LONGEST_VALUE = 80
_LARGEST_SCHEMA = 64 * 1024  # to check one of these takes a tenth of a second
_MOST_ERRORS = 100
_MOST_REFERENCES = 2000


class _TooMuch(Exception):
    """The schema leads from reference to reference."""


class _References:
    """How many references this judgement may still follow: a few lines of schema can ask for billions."""

    left = 0

    @classmethod
    def follow(cls, validator: Any, reference: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
        """The keyword `$ref`."""
        cls.left -= 1
        if cls.left < 0:
            raise _TooMuch
        yield from validator._validate_reference(ref=reference, instance=instance)


def _unchecked(*_: object) -> Iterator[ValidationError]:
    """Schemas come from clients: some keywords can keep a process busy for hours."""
    return iter(())


def _additional(validator: Any, wanted: Any, instance: Any, schema: dict[str, Any]) -> Iterator[ValidationError]:
    """The keyword `additionalProperties`: what is additional beside patterns is told only by running them."""
    if not schema.get("patternProperties"):
        yield from Draft202012Validator.VALIDATORS["additionalProperties"](validator, wanted, instance, schema)


_UNCHECKED = (
    *("pattern", "patternProperties", "uniqueItems", "$dynamicRef"),
    *("unevaluatedProperties", "unevaluatedItems"),  # they run patterns as well
)
_KEYWORDS = {
    **dict.fromkeys(_UNCHECKED, _unchecked),
    "additionalProperties": _additional,
    "$ref": _References.follow,
}
_Judge = extend(Draft202012Validator, _KEYWORDS)  # type: ignore[no-untyped-call]  # typeshed has no types for it


def flaw_of(tool: Tool, arguments: str) -> str | None:
    """What is wrong with the arguments, in one line for the model; None when they are valid or cannot be judged."""
    if tool.custom:
        return None
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return "the arguments are no valid JSON"
    if not isinstance(value, dict):
        return "the arguments are no JSON object"
    validator = _validator(tool.schema) if tool.schema else None
    if validator is None:
        return None
    _References.left = _MOST_REFERENCES
    try:
        error = best_match(islice(validator.iter_errors(value), _MOST_ERRORS))
    except (RecursionError, Unresolvable, UnknownType, ArithmeticError, ValueError, _TooMuch):
        return None  # arithmetic: `multipleOf` of numbers beyond a float
    return _told(error) if error else None


def _told(error: ValidationError) -> str:
    """One line: the field, and what is wrong with it."""
    message, value = error.message, repr(error.instance)
    if len(value) > _LONGEST_VALUE:
        message = message.replace(value, f"{value[:_LONGEST_VALUE]}...")
    field = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in error.absolute_path)
    line = " ".join(f"{field.lstrip('.')}: {message}".split()) if field else " ".join(message.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


@lru_cache(maxsize=512)
def _validator(schema: bytes) -> Validator | None:
    """None for a schema that is none. Nothing outside of it is ever fetched."""
    if len(schema) > _LARGEST_SCHEMA:
        return None
    try:
        meant = json.loads(schema)
        Draft202012Validator.check_schema(meant)
    except (ValueError, RecursionError, SchemaError):
        return None
    judge: Validator = _Judge(meant, registry=Registry())
    return judge
