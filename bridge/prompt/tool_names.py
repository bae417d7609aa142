"""Which tool of the request a model means by a name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bridge.chat.request import Tool

# A model may write anything as a name; longer ones are only compared as they are.
_LONGEST = 200
_PREFIX = re.compile(r"(?:functions?\.|tools?\.|mcp_+)")
_SEPARATORS = re.compile(r"[-_.\s:/]+")

_READ = "read readfile openfile viewfile catfile cat view loadfile getfile showfile"
_WRITE = "write writefile writetofile createfile savefile newfile makefile"
_EDIT = (
    "edit editfile patch applypatch patchfile writepatch modifyfile modify replaceinfile strreplace searchreplace "
    "applydiff"
)
_TERMINAL = (
    "terminal bash shell exec command cmd powershell runcommand executecommand execcommand shellcommand "
    "runshellcommand runinterminal runterminalcommand executebash localshell"
)
_GREP = "grep search searchfiles searchfile searchcontent ripgrep rg grepsearch searchcode codesearch"
_GLOB = "glob find findfiles findfile globfiles filesearch globsearch"
_LIST = "list ls listfiles listdir listdirectory dir"
_WEB_SEARCH = "websearch searchweb internetsearch googlesearch"
_FETCH = "fetch webfetch webextract openurl readurl fetchurl"
_GROUPS = [
    each.split()
    # The last group joins three: an agent that has only one of grep, glob and ls gets the search under any of their
    # names. It stands last, so that a closer group wins.
    for each in (
        *(_READ, _WRITE, _EDIT, _TERMINAL, _GREP, _GLOB, _LIST, _WEB_SEARCH, _FETCH),
        f"{_GREP} {_GLOB} {_LIST}",
    )
]
"""Names that mean the same, best known first; a name is looked up in the groups from above (PROTOCOL 14.2)."""


def by_wire_name(tools: Sequence[Tool]) -> dict[tuple[str, str], Tool]:
    """By namespace, and by what the client calls them; made when a call has come, as most replies have none."""
    return {(tool.namespace, tool.wire_name or tool.name): tool for tool in tools}


class ToolNames:
    """The tools of one request by the names a model may use for them."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = tools
        self._exact: dict[str, Tool] | None = None
        self._plain: dict[str, Tool | None] | None = None

    def find(self, name: str) -> Tool | None:
        """By the name itself, else by its spelling, else by what it means; None when no tool of the request fits."""
        tool = self.find_by_spelling(name)
        if tool is not None or self._plain is None or len(name) > _LONGEST:
            return tool
        # Meaning comes last: an agent may have both `read` and `view`, and each must be found by its own name.
        return next(_meant(_plain(name), self._plain), None)

    def find_by_spelling(self, name: str) -> Tool | None:
        if self._exact is None:
            self._exact = {tool.name: tool for tool in self._tools}
        tool = self._exact.get(name)
        if tool is not None or len(name) > _LONGEST:
            return tool
        if self._plain is None:
            self._plain = _by_plain_name(self._tools)
        return self._plain.get(_plain(name))


def _by_plain_name(tools: Sequence[Tool]) -> dict[str, Tool | None]:
    """None for spellings that two tools share."""
    found: dict[str, Tool | None] = {}
    for tool in tools:
        for spelling in _spellings(tool):
            # A wrong tool is worse than none: the model can correct an unknown name, a wrong call is run.
            found[spelling] = tool if found.get(spelling, tool) is tool else None
    return found


def _spellings(tool: Tool) -> set[str]:
    """What is left of the names; of a tool behind `mcp__<server>__` its own name too."""
    # `mcp__server__tool` is how agents name tools of MCP servers; models often drop the prefix.
    names = {tool.name, tool.wire_name, tool.name.rpartition("__")[2]} - {""}
    return {_plain(name) for name in names}


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", _PREFIX.sub("", name.strip().lower(), count=1))


def _meant(plain: str, by_plain_name: dict[str, Tool | None]) -> Iterator[Tool]:
    for group in _GROUPS:
        if plain in group:
            yield from (tool for name in group if (tool := by_plain_name.get(name)))
