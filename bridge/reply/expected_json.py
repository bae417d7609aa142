"""The JSON that a reply must be: how it begins, where it stands in a text, and whether it fits its schema. Pure."""

from __future__ import annotations

import re

import msgspec

from bridge.prompt.type_text import Limits, TypeText
from bridge.reply.calls.json_value import ParseStopped, Value
from bridge.reply.calls.pauses import STEP, Steps
from bridge.reply.integers import WholeNumbers, has_integers
from bridge.reply.open_json import BEGINS, OpenJson
from bridge.reply.validation import NOTHING, UNCHECKED, Schema, Verdict, check, decoded, schema_of
from bridge.schema import parts as schema_parts

_MOST_BEGINNINGS = 8  # of JSON that are read in one reply
_MOST_SEARCHED = 4 << 20  # characters of a whole reply; no JSON is that long

# Models fence JSON whatever they are asked, so the fence is taken off.
_FENCED = re.compile(r"\A```[\w -]*\n(.*?)\n?```\Z", re.DOTALL)
# Python's parser takes these words for numbers; JSON has none of them.
_NO_JSON = frozenset(("NaN", "Infinity", "-Infinity"))
ANY_OBJECT = b"{}"


class Found(msgspec.Struct, frozen=True):
    text: str = ""
    verdict: Verdict = Verdict("it holds no JSON")

    @property
    def fits(self) -> bool:
        """It is what was asked for, as far as can be checked."""
        return not self.verdict.problem


class ExpectedJson:
    """Any JSON of this schema."""

    def __init__(self, schema: bytes) -> None:
        self._integer_schema = schema if has_integers(schema) else b""
        # `{}` stands for json_object: any object, which the schema alone would not say.
        self._schema = schema_of(schema) if schema.strip() != ANY_OBJECT else Schema({"type": "object"}, "", True)
        self.begins, self.is_scalar = _roots(self._schema)

    def numbers(self) -> WholeNumbers | None:
        """What writes integers as integers; None where the schema has none."""
        return WholeNumbers(self._integer_schema) if self._integer_schema else None

    def watch(self) -> OpenJson:
        return OpenJson(BEGINS['"'] if self.is_scalar else self.begins)

    def check(self, text: str) -> Verdict:
        value = decoded(text)
        if value is NOTHING:
            return Verdict("it is no valid JSON")
        return check(self._schema, value) if self._schema is not None else UNCHECKED

    def find(self, text: str) -> Steps[Found]:
        """The first JSON of the text that fits, else the first."""
        if len(text) > _MOST_SEARCHED:
            return Found()
        if self.is_scalar:
            return (yield from self._scalar_of(text))
        first: Found | None = None
        at = 0
        # Prose with many braces must not cost a reading for each of them.
        for _ in range(_MOST_BEGINNINGS):
            begun = self.begins.search(text, at)
            if begun is None:
                break
            at, json_text = yield from _value_at(text, begun.end() - len(begun.group().lstrip()))
            # On from behind the beginning at least, or the same one would be found again.
            at = max(at, begun.end())
            if json_text:
                json_text = yield from self._whole(json_text)
                found = Found(json_text, self.check(json_text))
                # A model may show an example first; the first that fits is the answer.
                if found.fits:
                    return found
                first = first or found
        if first is not None:
            return first
        # An `enum` or a union may allow bare strings and numbers as well: they show no beginning of their own.
        bare = yield from self._scalar_of(text)
        return bare if bare.fits else Found()

    def _scalar_of(self, text: str) -> Steps[Found]:
        stripped = text.strip()
        if fenced := _FENCED.match(stripped):
            stripped = fenced[1].strip()
        # The whole reply must be the value: any word in prose would be a scalar.
        if decoded(stripped) is NOTHING or stripped in _NO_JSON:
            return Found()
        json_text = yield from self._whole(stripped)
        return Found(json_text, self.check(json_text))

    def _whole(self, text: str) -> Steps[str]:
        """The JSON with integers as integers."""
        numbers, pieces = self.numbers(), []
        if numbers is None:
            return text
        for at in range(0, len(text), STEP):
            pieces.append(numbers.feed(text[at : at + STEP]))
            yield
        return "".join([*pieces, numbers.end()])


def _roots(schema: Schema | None) -> tuple[re.Pattern[str], bool]:
    """How JSON of the schema begins, and whether it may be neither object nor array."""
    root = TypeText(schema.root, Limits()).resolved(schema.root) if schema is not None else {}
    if not isinstance(root, dict):
        return BEGINS["{["], False
    types = set(schema_parts.types(root))
    # Many schemas leave out `type` where `properties` makes it plain.
    if not types and schema_parts.fields(root):
        types = {"object"}
    signs = "".join(sign for kind, sign in (("object", "{"), ("array", "[")) if kind in types)
    return BEGINS[signs or "{["], bool(types) and not signs


def _value_at(text: str, at: int) -> Steps[tuple[int, str]]:
    """The position behind the JSON value that begins there, and the value; "" when it is none."""
    value = Value([])
    while not value.done and at < len(text):
        try:
            read = value.take(text[at : at + STEP], 0)
        except ParseStopped as problem:
            return at + problem.at, ""
        if not read:
            break
        at += read
        yield
    if not value.done and not value.complete(text[at:]):
        return at, ""
    return at, "".join(value.out)
