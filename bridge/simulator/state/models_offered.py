"""The models on offer."""

from __future__ import annotations

from typing import Any

from bridge.simulator.protocol.clients import Clients

SCENES = ("assistant", "chat", "developer", "inline", "quest")
MODELS = (
    "org_auto:Auto,dashscope_qmodel:Qwen3.6-Plus,dashscope_qwen3_coder:Qwen3-Coder,"
    "dashscope_qwen_max_latest:Qwen3-Max,dashscope_qwen_plus_20250428_thinking:Qwen3-Thinking,"
    "kmodel:Kimi-K2.6,mmodel:MiniMax-M2.7"
)
REASONING = ("thinking", "qmodel", "kmodel", "mmodel")


class ModelsOffered:
    """Pairs of key:Name with commas between; an empty text stands for those of the service."""

    def __init__(self, text: str, clients: Clients) -> None:
        self.clients = clients
        self._pairs = self._read(text)

    @staticmethod
    def _read(text: str) -> list[tuple[str, str]]:
        pairs = [item.strip().partition(":") for item in (text or MODELS).split(",")]
        return [(key, name or key) for key, _, name in pairs]

    def listed(self) -> dict[str, Any]:
        """The result of `config/queryModels`: the same list for every scene."""
        items = [self._item(key, name, first=number == 0) for number, (key, name) in enumerate(self._pairs)]
        return dict.fromkeys(SCENES, items)

    def _item(self, key: str, name: str, *, first: bool) -> dict[str, Any]:
        return {
            "key": key, "displayName": name, "model": "", "format": "openai", "source": "system", "isVl": False,
            # Guessed from the key, as the options name keys only.
            "isReasoning": any(part in key for part in REASONING), "isDefault": first, "url": "", "apiKey": "",
            "baseUrl": "", "maxInputTokens": 0,
        }  # fmt: skip

    def has(self, key: str) -> bool:
        """Whether there is a model of that key."""
        return any(key == offered for offered, _ in self._pairs)

    def chosen(self, requested: str) -> str:
        """The key of the model that answers: the one asked for, else the default."""
        return requested if self.has(requested) else self._pairs[0][0]

    def change(self, text: str) -> None:
        """Offer other models from now on, and push that."""
        self._pairs = self._read(text)
        self.clients.broadcast("model/refresh", {})
        self.clients.broadcast("config/refreshModels", {})
