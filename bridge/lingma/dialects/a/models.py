"""The models of an account out of the answer to `config/queryModels` (PROTOCOL 8.3)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bridge.lingma.dialects.base import Model

MOST_TOKENS: Final = 1 << 31
"""No model takes in so many; what other processes are told of has 64 bits."""


def models_of(result: bytes) -> list[Model]:
    """The models of the `chat` scene; with another shape, every object that has an id and a name (PROTOCOL 8.3)."""
    scenes = msgspec.json.decode(result)
    chat = scenes.get("chat") if isinstance(scenes, dict) else None
    # Versions differ in shape. A wrong guess here costs an odd entry in the list; no guess would cost all models.
    found = list(_walk(chat if isinstance(chat, list) and chat else scenes))
    return list({model.key: model for model in found}.values())


def _walk(node: Any) -> list[Model]:
    if isinstance(node, list):
        return [model for item in node for model in _walk(item)]
    if not isinstance(node, dict):
        return []
    key = next((node[k] for k in ("key", "modelId", "id") if isinstance(node.get(k), str)), "")
    name = next((node[k] for k in ("displayName", "name", "label", "title") if isinstance(node.get(k), str)), None)
    if key and name is not None:
        vision, reasoning, default = (node.get(k) is True for k in ("isVl", "isReasoning", "isDefault"))
        most = node.get("maxInputTokens")
        size = most if type(most) is int and 0 < most < MOST_TOKENS else 0
        return [Model(key, name, vision, reasoning, default, size)]
    return [model for item in node.values() for model in _walk(item)]
