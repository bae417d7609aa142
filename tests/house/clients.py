"""Writes docs/clients.md: the set-ups that the console shows, with what is worth knowing of each client."""

from pathlib import Path

from accounts.keys.snippets import setups
from gateway_project.env import BASE_DIR

TARGET = Path("docs/clients.md")
BASE, KEY, MODEL = "http://127.0.0.1:8317", "lgw_...", "org_auto"
LANGUAGES = {
    "Claude Code": "sh", "Codex": "sh", "aider": "sh", "curl": "sh", "opencode": "json", "Continue": "yaml",
    "OpenAI SDK": "python", "Anthropic SDK": "python", "LangChain": "python",
}  # fmt: skip
HEAD = """\
# Clients

Generated from `accounts/keys/snippets.py`; do not edit. `make options` writes it anew.

Any client with a base URL will do. Those of OpenAI's kind take `http://127.0.0.1:8317/v1`, those of Anthropic's the
address without `/v1`. The page of a new key in the console, and `/me/`, have these texts with the key and a model that
the key may use. `GET /v1/models` lists the models; names that tools ask for by themselves (`claude-*`, `gpt-*`) are
aliases, which the console shows.

What all of them get: streams with signs of life, tools, images, thinking, `Retry-After` with the real time, and an
`x-request-id` with which `/usage/r/<id>` explains the request.
"""
NOTES = {
    "Claude Code": """\
Tried unmodified, with tools, thinking and pictures. A key that may not use `claude-*` needs the five `ANTHROPIC_…MODEL`
variables, which the console adds then. In auto mode it sends about 35,000 tokens to the model to vet every command;
`--permission-mode default` asks you instead.""",
    "Codex": "Tried unmodified, by the Responses API, with stored responses and custom tools.",
    "opencode": "Tried unmodified. `attachment` lets it send pictures.",
    "Cline": "Its requests were compared with the OpenAI format; the extension itself was not driven.",
    "Continue": """\
The values were tried with an OpenAI client; the extension itself was not driven. `capabilities` says that tools and
pictures may be sent, which it cannot know of a model it has never heard of.""",
    "Cherry Studio": """\
The values were tried with an OpenAI client; the program itself was not driven. It adds `/v1` by itself, unless the
address ends with a slash.""",
    "aider": "Tried unmodified. The name of the model begins with `openai/` there.",
    "OpenAI SDK": """\
Python and Node were tried in two major versions, with streams, tools, structured outputs and Responses. The SDKs repeat
what is refused by themselves, as the header `x-should-retry` says.""",
    "Anthropic SDK": "Python and Node were tried in two major versions, with streams, thinking and the tool runner.",
    "LangChain": """\
LangChain's own standard tests pass for `langchain-openai` and `langchain-anthropic` but for what the tests list. With
`ChatAnthropic` the address has no `/v1`.""",
    "curl": "`-N` shows a stream as it comes.",
}
JAVA = """\
## Java

The HTTP client of the JDK works as it comes, with its offer of HTTP/2; so do SDKs that take a base URL, such as
OpenAI's (`OpenAIOkHttpClient.builder().baseUrl("http://127.0.0.1:8317/v1").apiKey("lgw_...")`), which was not tried.
"""


def page() -> str:
    """The whole of it."""
    parts = [HEAD]
    for each in setups(BASE, KEY, MODEL):
        block = f"```{LANGUAGES.get(each.client, 'text')}\n{each.text}\n```"
        parts.append(f"## {each.client}\n\n{each.where}:\n\n{block}\n\n{NOTES[each.client]}\n")
    return "\n".join([*parts, JAVA])


if __name__ == "__main__":
    (BASE_DIR / TARGET).write_text(page(), encoding="utf-8")
