"""What there is to choose from: the account's models, and the aliases that stand for one name each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bridge.lingma.dialects.base import Model
from bridge.routing.routes import Routes, shown
from bridge.wire.models import Abilities, ModelRecord

SINCE = 1_767_225_600  # the service sends no dates: 2026-01-01


class ModelCatalogue:
    """
    Nothing is offered as long as no account is logged in, whatever aliases there are; and only what `may_use` finds
    among the names of a model.
    """

    def __init__(
        self, offered: Sequence[Model], routes: Routes, may_use: Callable[..., bool] = lambda *_: True
    ) -> None:
        self._models = {model.key: model for model in offered}
        self._routes = routes
        self._may_use = may_use

    def records(self) -> list[ModelRecord]:
        """The account's models in its own order, then the aliases."""
        if not self._models:
            return []
        own = [_record(model.key, model.display_name or "", model) for model in self._models.values()]
        # An alias with the name of a model is not listed twice: the model wins (`Routes`).
        named = [alias for alias in shown(self._routes.aliases) if self._routes.key_of(alias.pattern) is None]
        aliases = [_record(each.pattern, each.display_name, self._behind(each.pattern)) for each in named]
        return [record for record in own + aliases if self._may_see(record.id)]

    def record(self, name: str) -> ModelRecord | None:
        """The model of any name that means something here; None when it would only be the default model."""
        if not self._may_see(name):
            return None
        if model := self._models.get(name):
            return _record(name, model.display_name or "", model)
        if not self._models or not self._routes.has(name):
            return None
        # Aliases match in any case, and so do their titles.
        titles = {alias.pattern.lower(): alias.display_name for alias in shown(self._routes.aliases)}
        return _record(name, titles.get(name.lower(), ""), self._behind(name))

    def _may_see(self, name: str) -> bool:
        return self._may_use(*self._routes.names_of(name))

    def _behind(self, name: str) -> Model | None:
        routes = self._routes
        # The same order as in a turn: what the name means, else the default model.
        key = routes.key_of(routes.of(name).lingma_model) or routes.key_of(routes.default_model)
        return self._models.get(key or "")


def _record(name: str, title: str, model: Model | None) -> ModelRecord:
    abilities = Abilities(model.sees_images, model.is_reasoning) if model else None
    return ModelRecord(name, title or name, SINCE, (model and model.max_input_tokens) or None, abilities)
