"""The names a client can choose from."""

import pytest

from bridge.lingma.dialects.base import Model
from bridge.routing.catalogue import ModelCatalogue
from bridge.routing.routes import Alias, Routes

MODELS = [
    Model("org_auto", "Auto"),
    Model("eyes", "Qwen-VL", sees_images=True, is_reasoning=True, max_input_tokens=9000),
]
NAMES = {"org_auto": "org_auto", "auto": "org_auto", "eyes": "eyes", "qwen-vl": "eyes"}
ALIASES = [
    Alias("gpt-see", "eyes", display_name="Seeing"), Alias("claude-*", "eyes"), Alias("eyes", "org_auto"),
    Alias("lost", "not offered"),
]  # fmt: skip


def offer(models=MODELS, names=NAMES):
    return ModelCatalogue(models, Routes(ALIASES, (), names, "org_auto"))


def test_models_are_listed_with_their_aliases():
    listed = [(record.id, record.display_name) for record in offer().records()]
    assert listed == [("org_auto", "Auto"), ("eyes", "Qwen-VL"), ("gpt-see", "Seeing"), ("lost", "lost")]


def test_an_alias_can_do_what_its_model_can():
    by_id = {record.id: record for record in offer().records()}
    assert by_id["gpt-see"].abilities == by_id["eyes"].abilities
    assert (by_id["gpt-see"].max_input_tokens, by_id["lost"].max_input_tokens) == (9000, None)
    assert (by_id["eyes"].abilities.vision, by_id["lost"].abilities.vision) == (True, False)


@pytest.mark.parametrize("name", ["eyes", "gpt-see", "claude-opus-9", "CLAUDE-X", "auto", "agent", "lost", "Qwen-VL"])
def test_meaningful_name_is_found_as_spelled(name):
    assert offer().record(name).id == name


@pytest.mark.parametrize("name", ["llama", "", "x" * 10_000])
def test_other_names_are_not_found(name):
    assert offer().record(name) is None


def test_models_are_not_offered_without_a_login():
    assert offer([], {}).records() == []
    assert offer([], {}).record("claude-opus") is None


def test_a_confined_key_sees_what_it_may_use():
    only_eyes = ModelCatalogue(MODELS, Routes(ALIASES, (), NAMES, "org_auto"), lambda *names: "eyes" in names)
    assert [record.id for record in only_eyes.records()] == ["eyes", "gpt-see"]
    assert only_eyes.record("claude-opus-9").id == "claude-opus-9"
    assert [only_eyes.record(name) for name in ("org_auto", "Auto", "lost")] == [None] * 3
