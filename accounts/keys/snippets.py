"""What to paste where to use a key: one text per client."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from accounts.apps import accounts_config
from accounts.models import names_in
from accounts.patterns import allows, split
from gateway_project.lib.texts import gettext_noop

PLACEHOLDER: Final = "YOUR_API_KEY"


class Setup(NamedTuple):
    """One client. `where` says what to do with the text."""

    client: str
    where: str
    text: str


def setups(base_url: str, key: str, model: str, claude_model: str = "") -> list[Setup]:
    """Every client's text; `base_url` has no slash at its end. `claude_model`: what Claude Code must ask for."""
    # Claude Code asks for several models by names of its own; a key that may not use those needs all of them replaced.
    pinned = "".join(f'export {name}="{claude_model}"\n' for name in CLAUDE_MODELS) if claude_model else ""
    fields = {"base": base_url, "key": key, "model": model, "claude": pinned}
    # `%` and not `format`: the texts are full of braces.
    return [Setup(client, where, text.strip("\n") % fields) for client, where, text in TEXTS]


def setups_of(allowed_models: str, base_url: str, key: str, default: str, offered: Iterable[str]) -> list[Setup]:
    """The texts for a key that may use only some models: each asks for one it may use."""
    model = model_for(allowed_models, default, offered)
    # Nothing has to be pinned where the key may use what Claude Code asks for by itself.
    claude_model = "" if model_for(allowed_models, CLAUDE_CODE, ()) == CLAUDE_CODE else model
    return setups(base_url, key, model, claude_model)


def model_for(allowed_models: str, default: str, offered: Iterable[str]) -> str:
    """A model that the key may use: the default, else one its list names, else one that fits a pattern of it."""
    patterns = frozenset(names_in(allowed_models))
    if not patterns:
        return default
    allowed, _ = split(names_in(allowed_models))
    # First a plain name of the list: what the operator wrote is likelier meant than what a pattern happens to fit.
    names = [name for name in allowed if not WILD.search(name)]
    candidates = [default, *filter(PLAIN.fullmatch, [*names, *sorted(offered)]), CLAUDE_CODE]
    # Allowed by its own name, and forbidden by none: which model an alias means may change.
    fitting = (
        name for name in candidates if allows(patterns, [name]) and allows(patterns, accounts_config().names_of(name))
    )
    # What fits no known name is still allowed by the letter, and means the default model.
    bare = allowed[0].replace("*", "").replace("?", "x") if allowed else ""
    return next(fitting, bare if PLAIN.fullmatch(bare) else default)


WILD = re.compile(r"[*?]")
PLAIN = re.compile(r"[\w.:/@+\[\]-]+")
"""Names that mean themselves in a shell, JSON and YAML. Leads of teams and Lingma choose names, and who pastes a text
runs it."""
CLAUDE_CODE = "claude-sonnet-4-5"  # what it asks for by default
CLAUDE_MODELS = (
    "ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL",
)  # fmt: skip

TEXTS = [
    (
        "Claude Code",
        gettext_noop("In a terminal"),
        """
export ANTHROPIC_BASE_URL="%(base)s"
export ANTHROPIC_AUTH_TOKEN="%(key)s"
%(claude)sclaude
""",
    ),
    (
        "Codex",
        gettext_noop("In a terminal"),
        """
export LINGMA_GATEWAY_KEY="%(key)s"
codex -c model="%(model)s" -c model_provider="lingma" \\
  -c 'model_providers.lingma={name="Lingma Gateway", base_url="%(base)s/v1", env_key="LINGMA_GATEWAY_KEY", wire_api="responses"}'
""",  # noqa: E501 - a command stays in one piece
    ),
    (
        "opencode",
        gettext_noop("Into opencode.json"),
        """
{
  "$schema": "https://opencode.ai/config.json",
  "model": "lingma/%(model)s",
  "provider": {
    "lingma": {
      "npm": "@ai-sdk/openai-compatible",
      "name": "Lingma Gateway",
      "options": {
        "baseURL": "%(base)s/v1",
        "apiKey": "%(key)s"
      },
      "models": {
        "%(model)s": {
          "attachment": true,
          "modalities": { "input": ["text", "image"], "output": ["text"] }
        }
      }
    }
  }
}
""",
    ),
    (
        "Cline",
        gettext_noop("Into its settings, as API provider OpenAI Compatible"),
        """
Base URL  %(base)s/v1
API key   %(key)s
Model ID  %(model)s
""",
    ),
    (
        "Continue",
        gettext_noop("Into ~/.continue/config.yaml"),
        """
name: Lingma Gateway
version: 1.0.0
schema: v1
models:
  - name: Lingma
    provider: openai
    model: %(model)s
    apiBase: %(base)s/v1
    apiKey: %(key)s
    roles: [chat, edit, apply]
    capabilities: [tool_use, image_input]
""",
    ),
    (
        "Cherry Studio",
        gettext_noop("Into a model provider that is added with the type OpenAI"),
        """
API Host  %(base)s
API Key   %(key)s
Model ID  %(model)s
""",
    ),
    (
        "aider",
        gettext_noop("In a terminal"),
        """
export OPENAI_API_BASE="%(base)s/v1"
export OPENAI_API_KEY="%(key)s"
aider --model openai/%(model)s
""",
    ),
    (
        "OpenAI SDK",
        gettext_noop("Python, pip install openai"),
        """
from openai import OpenAI

client = OpenAI(
    base_url="%(base)s/v1",
    api_key="%(key)s",
)
reply = client.chat.completions.create(
    model="%(model)s",
    messages=[{"role": "user", "content": "Hello"}],
)
print(reply.choices[0].message.content)
""",
    ),
    (
        "Anthropic SDK",
        gettext_noop("Python, pip install anthropic"),
        """
from anthropic import Anthropic

client = Anthropic(
    base_url="%(base)s",
    api_key="%(key)s",
)
reply = client.messages.create(
    model="%(model)s",
    max_tokens=1024,
    messages=[{"role": "user", "content": "Hello"}],
)
print(reply.content[0].text)
""",
    ),
    (
        "OpenAI Node SDK",
        gettext_noop("Node, npm install openai, as an .mjs file"),
        """
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "%(base)s/v1",
  apiKey: "%(key)s",
});
const reply = await client.chat.completions.create({
  model: "%(model)s",
  messages: [{ role: "user", content: "Hello" }],
});
console.log(reply.choices[0].message.content);
""",
    ),
    (
        "Anthropic Node SDK",
        gettext_noop("Node, npm install @anthropic-ai/sdk, as an .mjs file"),
        """
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({
  baseURL: "%(base)s",
  apiKey: "%(key)s",
});
const reply = await client.messages.create({
  model: "%(model)s",
  max_tokens: 1024,
  messages: [{ role: "user", content: "Hello" }],
});
console.log(reply.content[0].text);
""",
    ),
    (
        "LangChain",
        gettext_noop("Python, pip install langchain-openai"),
        """
from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    base_url="%(base)s/v1",
    api_key="%(key)s",
    model="%(model)s",
)
print(model.invoke("Hello").content)
""",
    ),
    (
        "curl",
        gettext_noop("In a terminal"),
        """
curl %(base)s/v1/chat/completions \\
  -H "Authorization: Bearer %(key)s" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "%(model)s", "messages": [{"role": "user", "content": "Hello"}]}'
""",
    ),
    (
        "Java",
        gettext_noop("Into Main.java, then java Main.java, from Java 11 on"),
        r"""
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public class Main {
    public static void main(String[] arguments) throws Exception {
        var body = "{\"model\": \"%(model)s\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}";
        var request = HttpRequest.newBuilder(URI.create("%(base)s/v1/chat/completions"))
            .header("Authorization", "Bearer %(key)s")
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        var reply = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(reply.body());
    }
}
""",
    ),
]
