"""What a model name means here: the Lingma model, the ask mode, what becomes of tools, and how the prompt is put."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache

import msgspec

from bridge.chat.request import AskMode, ToolMode
from bridge.prompt.profile import DEFAULT_PROFILE, PromptProfile

AGENT_NAMES = frozenset({"agent", "lingma-agent"})  # PROTOCOL 17.3
WILDCARDS = "*?"
MOST_REMEMBERED = 1024  # clients choose the names
LONGEST_MATCHED = 256

# What clients add to a name: a date or `latest`, and the size of the context.
ADDED = re.compile(r"([-@](\d{8}|\d{4}-\d{2}-\d{2}|latest))?(\[[^\[\]]*\])?$", re.IGNORECASE)


class Alias(msgspec.Struct, frozen=True):
    """
    What names of this pattern mean, in any case: `*` stands for any text, `?` for one character, all else for itself.

    What is empty or None follows the settings.
    """

    pattern: str
    lingma_model: str = ""
    ask_mode: AskMode | None = None
    tool_mode: ToolMode | None = None
    thinking: bool | None = None
    display_name: str = ""

    @property
    def is_a_name(self) -> bool:
        """It stands for one name, which lists can show."""
        return not any(mark in self.pattern for mark in WILDCARDS)


class Route(msgspec.Struct, frozen=True):
    """
    What a name means. `lingma_model` is a key or display name to look for among an instance's models; one that it
    does not offer, and the empty one, mean the default model. None follows the settings. `alias` is the pattern that
    decided, empty when none did.
    """

    lingma_model: str = ""
    ask_mode: AskMode | None = None
    tool_mode: ToolMode | None = None
    thinking: bool | None = None
    profile: PromptProfile = DEFAULT_PROFILE
    alias: str = ""


class Routes:
    """
    `of(name)` costs a look-up for a name seen lately.

    `profiles` are pairs of a pattern on Lingma model keys and a profile; the first pattern in order that matches wins,
    as with aliases. `offered` maps the names the account's models go by, display names in lower case, to their keys:
    such a name means that model whatever the aliases say.
    """

    def __init__(
        self,
        aliases: Sequence[Alias] = (),
        profiles: Sequence[tuple[str, PromptProfile]] = (),
        offered: Mapping[str, str] | None = None,
        default_model: str = "",
    ) -> None:
        self.aliases = tuple(aliases)
        self.profiles = tuple(profiles)
        self.offered = dict(offered or {})
        self.default_model = default_model
        self._aliases = [(matcher(alias.pattern), alias) for alias in aliases]
        self._profiles = [(matcher(pattern), profile) for pattern, profile in profiles]
        # A cache per object, not on the class: new rules are a new object, so nothing has to be thrown away.
        self._remembered = lru_cache(MOST_REMEMBERED)(self._find)
        self._profile = lru_cache(MOST_REMEMBERED)(self._find_profile)
        self._names = lru_cache(MOST_REMEMBERED)(self._find_names)

    def of(self, name: str) -> Route:
        """What this name means; every name means something."""
        # A long name is not matched at all: patterns cost time per character, and the cache would keep it.
        return self._remembered(name) if len(name) <= LONGEST_MATCHED else Route(profile=self.profile_of(""))

    def profile_of(self, lingma_model: str) -> PromptProfile:
        """How prompts for this model are put. It is a key, or empty for the default model."""
        return self._profile(lingma_model or self.key_of(self.default_model) or self.default_model)

    def has(self, name: str) -> bool:
        """Whether the name, perhaps without what clients add, means something of its own, not the default model."""
        return self._has(self.resolved(name))

    def resolved(self, name: str) -> str:
        """The name; without what clients add where only that means something."""
        plain = ADDED.sub("", name)
        # The full name first: an alias may be meant for exactly this date.
        return plain if not self._has(name) and self._has(plain) else name

    def _has(self, name: str) -> bool:
        return self.key_of(name) is not None or name.lower() in AGENT_NAMES or bool(self.of(name).alias)

    def key_of(self, name: str) -> str | None:
        """The key of the offered model that goes by this name."""
        # Keys are matched exactly, display names in lower case, as they are stored.
        return self.offered.get(name) or self.offered.get(name.lower())

    def answers_to(self, name: str) -> str:
        """The key of the model that answers to the name; a name that would be looked for, while none is offered."""
        wanted = self.of(name).lingma_model
        if not self.offered:
            return wanted or self.default_model
        return self.key_of(wanted) or self.key_of(self.default_model) or self.default_model

    def names_of(self, name: str) -> tuple[str, ...]:
        """
        Every name that what is asked for goes by: the name itself, the same without a date or a size of context if
        that means the same model, and the model's key and display names. A name that is too long means the default
        model, and goes by that one's names alone.
        """
        return self._names(name) if len(name) <= LONGEST_MATCHED else self._names("")[1:]

    def names_with(self, name: str, key: str) -> tuple[str, ...]:
        """The names that count when a model answers to the name that is not the expected one."""
        plain, shown = ADDED.sub("", name), self._shown(key)
        return (name, plain, *shown) if plain and self.answers_to(plain) == self.answers_to(name) else (name, *shown)

    def with_models(self, offered: Mapping[str, str]) -> Routes:
        """The same for an account that offers other models."""
        return Routes(self.aliases, self.profiles, offered, self.default_model)

    def _find(self, name: str) -> Route:
        # A model of the account always wins: an alias cannot hide it.
        if (key := self.key_of(name)) is not None:
            return Route(key, profile=self.profile_of(key))
        agent: AskMode | None = "agent" if name.lower() in AGENT_NAMES else None
        alias = next((alias for matches, alias in self._aliases if matches(name)), None)
        if alias is None:
            plain = ADDED.sub("", name)
            if not agent and plain != name and self._has(plain):
                # Ends, as the name gets shorter each time.
                return self.of(plain)
            wanted = "" if agent else name
            return Route(wanted, agent, profile=self.profile_of(self.key_of(wanted) or ""))
        return Route(
            alias.lingma_model,
            alias.ask_mode or agent,
            alias.tool_mode,
            alias.thinking,
            self.profile_of(self.key_of(alias.lingma_model) or ""),
            alias.pattern,
        )

    def _find_names(self, name: str) -> tuple[str, ...]:
        key, plain = self.answers_to(name), ADDED.sub("", name)
        # A key allowed to use `model` may use `model-20250101` only if both are the same model.
        names = [name, plain] if plain and self.answers_to(plain) == key else [name]
        return tuple(dict.fromkeys([*names, *self._shown(key)]))

    def _shown(self, key: str) -> list[str]:
        """The key of a model, and its display names."""
        return [key, *(other for other, means in self.offered.items() if means == key)]

    def _find_profile(self, key: str) -> PromptProfile:
        return next((profile for matches, profile in self._profiles if matches(key)), DEFAULT_PROFILE)


def matcher(pattern: str) -> Callable[[str], object]:
    """A function that gives something true for a name that fits the pattern, in any case."""
    literal = pattern.replace("[", "[[]")  # names such as model[1m] exist, sets of characters are not needed
    return re.compile(translate(literal), re.IGNORECASE).match


def shown(aliases: Iterable[Alias]) -> list[Alias]:
    """Those that stand for one name, each once."""
    named = [alias for alias in aliases if alias.is_a_name]
    # Reversed twice: of two aliases with one name the first wins, and the order stays.
    return list({alias.pattern.lower(): alias for alias in reversed(named)}.values())[::-1]
