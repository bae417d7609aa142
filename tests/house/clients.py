"""Writes docs/clients.md and its Chinese twin: the console's set-ups, with what is worth knowing of each client."""

from pathlib import Path
from typing import NamedTuple

from django.utils.translation import gettext, override

from accounts.keys.snippets import setups
from gateway_project.env import BASE_DIR

BASE, KEY, MODEL = "http://127.0.0.1:8317", "lgw_...", "org_auto"
SYNTAX = {
    "Claude Code": "sh", "Codex": "sh", "aider": "sh", "curl": "sh", "opencode": "json", "Continue": "yaml",
    "OpenAI SDK": "python", "Anthropic SDK": "python", "LangChain": "python",
    "OpenAI Node SDK": "js", "Anthropic Node SDK": "js", "Java": "java",
}  # fmt: skip
HEAD = """\
# Clients

[中文](zh/clients.md)

Generated from `accounts/keys/snippets.py`; do not edit. `make options` writes it anew.

Any client with a base URL will do. Those of OpenAI's kind take `http://127.0.0.1:8317/v1`, those of Anthropic's the
address without `/v1`. The page of a new key in the console, and `/me/`, have these texts with the key and a model that
the key may use. `GET /v1/models` lists the models; names that tools ask for by themselves (`claude-*`, `gpt-*`) are
aliases, which the console shows.

What all of them get: streams with signs of life, tools, images, thinking, `Retry-After` with the real time, and an
`x-request-id`. Who has a key alone finds its last 50 requests by that id at `/me/` and in `GET /v1/usage`, with the
reason why each ended as it did; who has an account, and belongs to the key's team, all of it at `/usage/r/<id>`.
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
    "OpenAI Node SDK": "Tried in two major versions, with streams, tools and Responses.",
    "Anthropic Node SDK": "Tried in two major versions, with streams, thinking and the tool runner.",
    "LangChain": """\
LangChain's own standard tests pass for `langchain-openai` and `langchain-anthropic` but for what the tests list. With
`ChatAnthropic` the address has no `/v1`.""",
    "curl": "`-N` shows a stream as it comes.",
    "Java": """\
The HTTP client of the JDK works as it comes, with its offer of HTTP/2, also for streams. So should SDKs that take a
base URL, such as OpenAI's (`OpenAIOkHttpClient.builder().baseUrl("http://127.0.0.1:8317/v1").apiKey("lgw_...")`), which
was not tried.""",
}
# A paragraph is a line: a break would be shown as a blank.
CHINESE_HEAD = """\
# 客户端

[English](../clients.md)

由 `accounts/keys/snippets.py` 生成，请勿编辑；`make options` 会重新写出。

凡是能设置 base URL 的客户端都可以用。OpenAI 类的填 `http://127.0.0.1:8317/v1`，Anthropic 类的填不带 `/v1` 的地址。\
控制台新密钥的页面和 `/me/` 也有这些文本，密钥和该密钥可用的模型已经填好。\
`GET /v1/models` 列出模型；工具自行请求的名称（`claude-*`、`gpt-*`）是别名，可在控制台中查看。

所有客户端都能得到：会定时发出存活信号的流、工具、图片、思考、带真实时间的 `Retry-After`，以及 `x-request-id`。\
只有密钥的人可凭这个编号在 `/me/` 和 `GET /v1/usage` 中查到密钥最近 50 个请求，以及各自结果的原因；\
有账号且属于密钥所在团队的人可在 `/usage/r/<id>` 查看全部说明。
"""
CHINESE_NOTES = {
    "Claude Code": """\
未经修改试用过，包括工具、思考和图片。密钥不能使用 `claude-*` 时，需要五个 `ANTHROPIC_…MODEL` 变量，控制台届时会加上。\
在 auto 模式下，它审查每条命令都会向模型发送约 35,000 个 token；用 `--permission-mode default` 则改为询问您。""",
    "Codex": "未经修改试用过，走 Responses API，包括已保存的响应和自定义工具。",
    "opencode": "未经修改试用过。`attachment` 让它可以发送图片。",
    "Cline": "其请求与 OpenAI 格式作过对照；扩展本身没有运行过。",
    "Continue": """\
这些值用 OpenAI 客户端试过；扩展本身没有运行过。\
`capabilities` 说明可以发送工具和图片，对没听说过的模型，它无从得知这一点。""",
    "Cherry Studio": "这些值用 OpenAI 客户端试过；程序本身没有运行过。除非地址以斜杠结尾，它会自行加上 `/v1`。",
    "aider": "未经修改试用过。在它那里，模型名以 `openai/` 开头。",
    "OpenAI SDK": """\
Python 和 Node 版各试过两个大版本，包括流式、工具、结构化输出和 Responses。\
被拒绝的请求，SDK 会按响应头 `x-should-retry` 自行重试。""",
    "Anthropic SDK": "Python 和 Node 版各试过两个大版本，包括流式、思考和 tool runner。",
    "OpenAI Node SDK": "试过两个大版本，包括流式、工具和 Responses。",
    "Anthropic Node SDK": "试过两个大版本，包括流式、思考和 tool runner。",
    "LangChain": """\
`langchain-openai` 和 `langchain-anthropic` 通过 LangChain 自己的标准测试，例外由测试列出。\
使用 `ChatAnthropic` 时，地址不带 `/v1`。""",
    "curl": "`-N` 让流随到随显示。",
    "Java": """\
JDK 的 HTTP 客户端可直接使用，包括它提出的 HTTP/2，流式也可以。能设置 base URL 的 SDK 应当也可以，例如 OpenAI 的\
（`OpenAIOkHttpClient.builder().baseUrl("http://127.0.0.1:8317/v1").apiKey("lgw_...")`），但没有试过。""",
}


class Words(NamedTuple):
    """What a page says beside the set-ups."""

    head: str
    notes: dict[str, str]
    colon: str


PAGES = {
    Path("docs/clients.md"): ("en", Words(HEAD, NOTES, ":")),
    Path("docs/zh/clients.md"): ("zh-hans", Words(CHINESE_HEAD, CHINESE_NOTES, "：")),
}


def page(target: Path) -> str:
    """The whole of it."""
    language, words = PAGES[target]
    parts = [words.head]
    with override(language):
        for each in setups(BASE, KEY, MODEL):
            block = f"```{SYNTAX.get(each.client, 'text')}\n{each.text}\n```"
            where = f"{gettext(each.where)}{words.colon}"
            parts.append(f"## {each.client}\n\n{where}\n\n{block}\n\n{words.notes[each.client]}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    for target in PAGES:
        (BASE_DIR / target).write_text(page(target), encoding="utf-8")
