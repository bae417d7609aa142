"""Values by name, as flags, variables, files and markers give them, and what is made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_type_hints

import msgspec

from bridge.simulator.options import plan
from bridge.simulator.options.errors import OptionError
from bridge.simulator.options.service_options import ServiceOptions
from bridge.simulator.options.turn_options import TurnOptions

Layer = dict[str, Any]
"""Values by name; `turns` is a list of layers."""
ENVIRONMENT_PREFIX = "LINGMA_SIMULATOR_"
SERVICE_FAULTS: dict[tuple[str, str], Layer] = {
    ("f18", "initialize_silent"): {"initialize_silent": True}, ("f19", "models_empty"): {"models_empty": True},
    ("f22", "ignore_sigint"): {"ignore_sigint": True}, ("f23", "info_port"): {"info_port": 9},
    ("f24", "info_stale"): {"info_stale": True}, ("f26", "parallel_limit"): {"max_parallel": 1},
    ("f29", "version"): {"version_string": "9.9.9"},
}  # fmt: skip
SERVICE_NAMES = frozenset(ServiceOptions.__struct_fields__)
TURN_NAMES = frozenset(TurnOptions.__struct_fields__)
Options = TypeVar("Options")


def described() -> Iterator[tuple[str, str, Any, str]]:
    """(kind, name, default, meaning) of every option; the kind is `service` or `turn`."""
    for kind, struct in (("service", ServiceOptions), ("turn", TurnOptions)):
        hints = get_type_hints(struct, include_extras=True)
        for field in msgspec.structs.fields(struct):
            # The meaning is written in the type, so that help and option cannot differ.
            yield kind, field.name, field.default, hints[field.name].__metadata__[0]


def from_environment(environ: Mapping[str, str]) -> Layer:
    """Names that are no option are left alone: a typo there must not stop a service."""
    ours = ((key.removeprefix(ENVIRONMENT_PREFIX), value) for key, value in environ.items()
            if key.startswith(ENVIRONMENT_PREFIX))  # fmt: skip
    return {name.lower(): value for name, value in ours if name.lower() in SERVICE_NAMES | TURN_NAMES}


def service_options(layer: Layer) -> ServiceOptions:
    """The process part of a layer; raise OptionError."""
    return _build(ServiceOptions, {name: value for name, value in layer.items() if name in SERVICE_NAMES})


def turn_options(layer: Layer) -> TurnOptions:
    """The turn part of a layer; raise OptionError."""
    for name in {"tool_args", "tool_results"} & layer.keys():
        # Checked when it is set: inside a turn a bad text would break only that turn's generator.
        _check_json(name, _as_text(layer[name]))
    if text := layer.get("plan"):
        _check_plan(_as_text(text))
    return _build(TurnOptions, {name: value for name, value in layer.items() if name in TURN_NAMES})


def _check_json(name: str, text: str) -> None:
    try:
        json.loads(text)
    except ValueError as exc:
        raise OptionError(f"{name} is not valid JSON: {exc}") from None


def _check_plan(text: str) -> None:
    try:
        plan.read(text)
    except ValueError as exc:
        raise OptionError(f"plan: {exc}") from None


def _build(struct: type[Options], values: Layer) -> Options:
    # `strict=False` below reads numbers and booleans out of these texts.
    texts = {name: _as_text(value) for name, value in values.items()}
    try:
        return msgspec.convert(texts, struct, strict=False)
    except msgspec.ValidationError as exc:
        raise OptionError(str(exc)) from None


def _as_text(value: Any) -> Any:
    """A JSON file may say `["a","b"]` or an object where a flag says `a,b` or JSON text."""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def set_by_faults(layer: Layer) -> Layer:
    """What faults of the process, given by number or name, set."""
    given = {part.strip().lower() for part in _as_text(layer.get("fault", "")).split(",")}
    chosen = [options for names, options in SERVICE_FAULTS.items() if given.intersection(names)]
    return {name: value for options in chosen for name, value in options.items()}
