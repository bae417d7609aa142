"""What an installation of the original gateway has that this one can use: settings, keys, logins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_origin

from dotenv import dotenv_values
from pydantic import TypeAdapter, ValidationError

from bridge.logins.bundle import BadBundle, Bundle, from_folder
from gateway_project.env import SECRETS, Environment
from gateway_project.lib.secrets.key_secret import is_mistyped
from gateway_project.lib.setting_types import SHORTEST_KEY, split_keys

KEYS: Final = "API_KEYS"
NOT_NEEDED: Final = frozenset([
    "DATA_DIR", "DATABASE_URL", "REDIS_URL", "WEB_PROCESS", "SECRET_KEY", "SECRET_KEYS", "KEY_PEPPER",
    "BACKUP_PASSPHRASE",
])  # fmt: skip
"""This gateway has its own: they would lead to what is somebody else's."""
SHOWN: Final = frozenset(["DEFAULT_MODEL", "HOST", "TIME_ZONE", "TOOL_APPROVAL"])
"""Texts that are no secrets, and have none in them as an address may."""
LARGEST: Final = 1 << 20
MOST_FOLDERS: Final = 200


@dataclass(slots=True)
class Original:
    """What was found."""

    settings: dict[str, str] = field(default_factory=dict)
    """What this gateway reads too, and takes as it is."""
    defaults: list[str] = field(default_factory=list)
    """Names of settings that say what is so anyway."""
    not_needed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)
    """Names of settings to why their value cannot be taken."""
    keys: list[str] = field(default_factory=list)
    weak_keys: list[tuple[int, str]] = field(default_factory=list)
    """Numbers of keys in their list, and why they cannot be taken."""
    logins: dict[str, Bundle] = field(default_factory=dict)
    """By the name of their folder, "" for the one that is named."""


def look_at(folder: Path) -> Original:
    """Read all of it; nothing is changed. Raise OSError, or ValueError for a file that is no text."""
    found = Original(logins=_logins(folder))
    env = folder / ".env"
    if env.is_file():
        if env.stat().st_size > LARGEST:
            raise ValueError(f"{env} is too large to be read")
        values = dotenv_values(env)
        _read({name.upper(): value or "" for name, value in values.items()}, folder, found)
    return found


def _read(values: dict[str, str], folder: Path, found: Original) -> None:
    for name, value in _from_files(values, folder, found).items():
        if name == KEYS:
            _read_keys(split_keys(value), found)
        elif name in NOT_NEEDED:
            found.not_needed.append(name)
        elif name.lower() not in Environment.model_fields:
            found.unknown.append(name)
        elif not value or _is_default(name, value):
            found.defaults.append(name)
        elif why := _refused(name, value):
            found.bad[name] = why
        else:
            found.settings[name] = value


def _from_files(values: dict[str, str], folder: Path, found: Original) -> dict[str, str]:
    """The same, with what stands in the files that `X_FILE` names."""
    given = dict(values)
    for name in (each.upper() for each in SECRETS if f"{each.upper()}_FILE" in values):
        path = given.pop(f"{name}_FILE")
        try:
            given[name] = _text_of(folder / path)
        except (OSError, ValueError) as exc:
            found.bad[f"{name}_FILE"] = getattr(exc, "strerror", None) or "this is no text"
    return given


def _text_of(path: Path) -> str:
    """Raise OSError, or ValueError for what is no text: a device or a pipe might never end."""
    if path.exists() and (not path.is_file() or path.stat().st_size > LARGEST):
        raise ValueError
    return path.read_text().strip()


def _read_keys(keys: list[str], found: Original) -> None:
    for number, key in enumerate(keys, 1):
        if len(key) < SHORTEST_KEY:
            found.weak_keys.append((number, f"has {len(key)} characters, and a key needs {SHORTEST_KEY}"))
        elif is_mistyped(key):
            found.weak_keys.append((number, "has the form of a key of this gateway, but a letter of it is wrong"))
        elif key not in found.keys:
            found.keys.append(key)


def is_shown(name: str) -> bool:
    """Whether the value may stand in a terminal's history: numbers, choices and a few texts."""
    kind: Any = Environment.model_fields[name.lower()].annotation
    return name in SHOWN or kind in (bool, int, float) or get_origin(kind) is Literal


def _refused(name: str, value: str) -> str:
    """Why this gateway would not start with it; "": it would."""
    # All others have their defaults, and not what the environment of this process says.
    rest = {each: info.get_default(call_default_factory=True) for each, info in Environment.model_fields.items()}
    try:
        Environment.model_validate({**rest, name.lower(): _parsed(name, value)}, by_name=True)
    except ValidationError as exc:
        # Not the message of pydantic with the input, which may be a secret.
        return str(exc.errors(include_input=False)[0]["msg"]).removeprefix("Value error, ")
    except ValueError:
        return "this is not valid JSON"
    return ""


def _parsed(name: str, value: str) -> Any:
    kind: Any = Environment.model_fields[name.lower()].annotation
    return TypeAdapter(dict).validate_json(value) if get_origin(kind) is dict else value


def _is_default(name: str, value: str) -> bool:
    info = Environment.model_fields[name.lower()]
    default = info.get_default(call_default_factory=True)
    text = str(default).lower() if isinstance(default, bool) else str(default)
    is_plain = info.annotation in (bool, int, float, str, Path) or get_origin(info.annotation) is Literal
    return is_plain and value.strip() in (text, str(default))


def _logins(folder: Path) -> dict[str, Bundle]:
    """The one in the folder; where there are several, those of its folders."""
    try:
        return {"": from_folder(folder)}
    except BadBundle:
        pass
    found: dict[str, Bundle] = {}
    for place in _folders(folder):
        try:
            bundle = from_folder(place)
        except (BadBundle, OSError):
            continue
        if all(bundle.digest != each.digest for each in found.values()):
            found[place.relative_to(folder).as_posix().replace("/", "-").strip(".")] = bundle
    return found


def _folders(folder: Path) -> Iterator[Path]:
    near = _below(folder)
    for each in near:
        yield each
    for each in near:
        # Another user's, such as that of a database, has no login of the gateway.
        with suppress(OSError):
            yield from _below(each)


def _below(folder: Path) -> list[Path]:
    """Raise OSError."""
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.is_symlink())[:MOST_FOLDERS]
