import json
from datetime import UTC, datetime

import pytest
from anthropic.types import ModelCapabilities, ModelInfo
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Model

from bridge.chat.errors import InvalidRequest
from bridge.wire import models
from bridge.wire.models import Abilities, ModelRecord

RECORDS = [ModelRecord(name, name.upper(), 1767225600) for name in "abcde"]


def page(**query):
    answer = json.loads(models.listing(RECORDS, query))
    return "".join(record["id"] for record in answer["data"]), answer["has_more"]


def test_one_record_satisfies_both_protocols():
    record = json.loads(models.one(ModelRecord("org/qwen:max", "Qwen", 1767225600)))
    assert Model.model_validate(record, strict=True).created == 1767225600
    info = ModelInfo.model_validate(record)
    assert (info.id, info.display_name, info.lifecycle) == ("org/qwen:max", "Qwen", "active")
    assert record["created_at"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("abilities", [Abilities(), Abilities(vision=True, reasoning=True)])
def test_abilities_have_a_shape_both_sdks_take(abilities):
    told = json.loads(models.one(ModelRecord("m", "M", 1767225600, 200_000, abilities)))
    Model.model_validate(told, strict=True)
    info = ModelInfo.model_validate(told)
    assert info.max_input_tokens == 200_000
    assert info.capabilities.image_input.supported is abilities.vision
    assert info.capabilities.thinking.supported is abilities.reasoning
    assert info.capabilities.tools == {"supported": True}
    assert set(ModelCapabilities.model_fields) <= set(told["capabilities"])


@pytest.mark.parametrize("abilities", [Abilities(), Abilities(vision=True, reasoning=True)])
def test_abilities_do_not_contradict_themselves(abilities):
    told = json.loads(models.one(ModelRecord("m", "M", 1767225600, 200_000, abilities)))["capabilities"]
    for name, ability in told.items():
        kinds = ability.get("types", {key: value for key, value in ability.items() if isinstance(value, dict)})
        assert ability["supported"] or not any(kind["supported"] for kind in kinds.values()), name
    assert told["structured_outputs"] == {"supported": True}


def test_unknown_figures_are_null():
    told = json.loads(models.one(RECORDS[0]))
    assert (told["max_input_tokens"], told["capabilities"]) == (None, None)


def test_the_list_is_whole_and_has_no_more():
    answer = json.loads(models.listing(RECORDS))
    assert (answer["object"], answer["has_more"], answer["first_id"], answer["last_id"]) == ("list", False, "a", "e")
    assert [record["id"] for record in answer["data"]] == list("abcde")


def test_an_empty_list_has_no_ends():
    answer = json.loads(models.listing([]))
    assert answer == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"limit": "2"}, ("ab", True)),
        ({"limit": "1000"}, ("abcde", False)),
        ({"limit": "2", "after_id": "b"}, ("cd", True)),
        ({"limit": "2", "after_id": "c"}, ("de", False)),
        ({"after_id": "e"}, ("", False)),
        ({"limit": "2", "before_id": "d"}, ("bc", True)),
        ({"limit": "2", "before_id": "c"}, ("ab", False)),
        ({"before_id": "a"}, ("", False)),
        ({"limit": "", "after_id": "", "beta": "true"}, ("abcde", False)),
    ],
)
def test_pitfall_23_pages_end(query, expected):
    assert page(**query) == expected


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "1.5", "9" * 5000, "²"])
def test_a_senseless_limit_is_refused(limit):
    with pytest.raises(InvalidRequest, match="limit"):
        page(limit=limit)


def test_an_unknown_place_is_refused():
    with pytest.raises(InvalidRequest, match="after_id"):
        page(after_id="nope")


@settings(deadline=None)
@given(st.integers(0, 253_402_300_799))
def test_times_are_rfc_3339(seconds):
    told = json.loads(models.one(ModelRecord("a", "A", seconds)))["created_at"]
    assert told == datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
