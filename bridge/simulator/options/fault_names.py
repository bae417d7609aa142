"""The faults by number and name."""

from __future__ import annotations

from bridge.simulator.options.errors import OptionError

NAMES = {
    "F1": "drop", "F2": "no_finish", "F3": "finish_code", "F4": "foreign_finish", "F5": "unknown_push",
    "F6": "slow_first", "F7": "silence", "F8": "cut_long", "F9": "blocked", "F10": "logout", "F11": "token_refresh",
    "F12": "double_finish", "F13": "late_answer", "F14": "doubled_frames", "F15": "oversize", "F16": "bad_json",
    "F17": "wrong_length", "F18": "initialize_silent", "F19": "models_empty", "F20": "interleave", "F21": "crash",
    "F22": "ignore_sigint", "F23": "info_port", "F24": "info_stale", "F25": "models_change", "F26": "parallel_limit",
    "F27": "orphan_tool_event", "F28": "rewrite_user", "F29": "version", "F30": "ask_error",
}  # fmt: skip
ALL = frozenset(NAMES.values())


def named(text: str) -> frozenset[str]:
    """The names behind `F1,late_answer`; raise OptionError for one nobody knows."""
    # Numbers and names may be mixed; a name that is no number stays what it is.
    names = {NAMES.get(part.strip().upper(), part.strip()) for part in text.split(",") if part.strip()}
    if unknown := names - ALL:
        raise OptionError(f"no such fault: {', '.join(sorted(unknown))}")
    return frozenset(names)
