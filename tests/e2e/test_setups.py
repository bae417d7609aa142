"""Every set-up that is shown anywhere is run as it stands there: the new key's page, the key holder's, documents."""

import json
import os
import re
import shlex
import subprocess
from html import unescape

import pytest
import yaml
from openai import OpenAI

from accounts.keys.snippets import setups
from tests.e2e import shell
from tests.e2e.formats import send
from tests.e2e.installation import KEY, ROOT, django, until

README = (ROOT / "README.md").read_text()
CONSOLE = (ROOT / "docs" / "console.md").read_text()
RUN = {"OpenAI SDK": "python", "Anthropic SDK": "python", "curl": "sh"}
"""Those that need no other program; agents and LangChain are run in tests/clients."""
SHOWN = """
from django.contrib.auth.models import User
from django.test import Client
from accounts.keys import services
from accounts.models import ApiKey
client = Client(headers={{"host": "127.0.0.1:{port}"}})
client.force_login(User.objects.get(username="admin"))
if {where!r} == "console":
    fields = {{"name": "set-up " + {models!r}, "allowed_models": {models!r}, "_save": "1"}}
    print(client.post("/admin/accounts/apikey/add/", fields).content.decode())
else:
    secret = services.create(ApiKey(name="holder " + {models!r}, allowed_models={models!r}))
    client.post("/me/", {{"key": secret}})
    print(client.get("/me/").content.decode().replace("YOUR_API_KEY", secret))
"""
MODELS = ("", "dashscope_qwen3_coder", "qwen*, !qwen3-max", "claude-*")


def run(language, text):
    """What comes of it for somebody who pastes it; proxies of this machine are none of its business."""
    env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    if language == "python":
        return shell.run(env, text, begin="import anthropic, openai")
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, timeout=60, env=env, cwd=ROOT)
    assert done.returncode == 0, done
    return done.stdout


def texts_of(page):
    """{client: text} of the blocks on a page."""
    blocks = re.findall(r"<(?:h3|summary)[^>]*>([^<]*)<.*?<pre[^>]*>(.*?)</pre>", page, re.DOTALL)
    return {name.strip(): unescape(text) for name, text in blocks}


@pytest.mark.parametrize("models", MODELS)
@pytest.mark.parametrize("where", ["console", "holder"])
def test_shown_setups_work_as_they_stand(gateway, where, models):
    page = django(gateway.data_dir, SHOWN.format(port=gateway.port, where=where, models=models))
    texts = texts_of(page)
    assert len(texts) >= 8
    for client, language in RUN.items():
        assert run(language, texts[client] + (" --silent --fail-with-body" if client == "curl" else "")).strip()
    assert_the_same_everywhere(texts, gateway)


def assert_the_same_everywhere(texts, gateway):
    """Of agents, too, each text has the key, and a model that the key may use."""
    secret = re.search(r"lgw_[A-Za-z0-9_-]{20,}", texts["curl"])[0]
    model = re.search(r'"model": "([^"]+)"', texts["curl"])[1]
    assert all(secret in text for text in texts.values())
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    assert until(lambda: send(gateway, "POST", "/v1/chat/completions", key=secret, body=body).status == 200)
    assert all(
        model in text for name, text in texts.items() if name in ("Codex", "opencode", "Cline", "Continue", "aider")
    )


def readme_blocks(section):
    """(what it is for, kind, text) of each block in a part of the README."""
    part = README.partition(section)[2].partition("\n## ")[0]
    return re.findall(r"\*\*([^*]+)\*\*[^*`]*?(?:`[^`\n]+`[^*`]*?)?```(\w+)\n(.*?)```", part, re.DOTALL)


def test_readme_works_as_it_stands(gateway):
    blocks = {name: (kind, text) for name, kind, text in readme_blocks("## First chat") if name in RUN}
    assert blocks.keys() == RUN.keys()
    for kind, text in blocks.values():
        here = text.replace("127.0.0.1:8317", f"127.0.0.1:{gateway.port}").replace("lgw_...", KEY)
        said = run(kind, f"LINGMA_GATEWAY_KEY={KEY}\n{here}" if kind == "sh" else here)
        assert "[DONE]" in said if kind == "sh" else said.strip()


def meaning(text):
    """What a text says, however its lines are broken."""
    return json.loads(text) if text.startswith("{") else shlex.split(text.replace("\\\n", ""))


def test_readme_sets_agents_up_as_elsewhere():
    shown = {name: meaning(text) for name, _, text in readme_blocks("## First chat") if name not in RUN}
    assert shown.keys() == {"Claude Code", "opencode", "Codex"}
    texts = {each.client: each.text for each in setups("http://127.0.0.1:8317", "lgw_...", "org_auto")}
    assert shown == {name: meaning(texts[name]) for name in shown}


TOKEN = """
from django.contrib.auth.models import User
from accounts.api.tokens import issue
print(issue(User.objects.get(username="admin"), None, []))
"""


def test_document_shows_requests_that_the_api_takes(gateway):
    text = re.search(r"\*\*REST API\*\*.*?```sh\n(.*?)```", CONSOLE, re.DOTALL)[1]
    create, rotate, summary = re.findall(r"curl .*?(?=\ncurl |\Z)", text, re.DOTALL)
    token = django(gateway.data_dir, TOKEN).strip()

    def ask(command):
        here = command.rstrip().replace("127.0.0.1:8317", f"127.0.0.1:{gateway.port}")
        return json.loads(run("sh", f"TOKEN={token}\n{here} --silent --fail-with-body"))

    # Another key, as this installation has an alice.
    made = ask(create.replace('"alice"', '"alice of the document"'))
    assert (made["team"], made["rpm"]) == ("core", 60)
    rotated = ask(rotate.replace("/keys/1/", f"/keys/{made['id']}/"))
    assert rotated["id"] == made["id"]
    assert made["secret"] != rotated["secret"]
    for secret in (made["secret"], rotated["secret"]):  # the grace lasts for an hour
        assert until(lambda secret=secret: send(gateway, "GET", "/v1/models", key=secret).status == 200)
    assert ask(summary)["results"] is not None


def fields(text):
    """{name: value} of a set-up that is filled into a form."""
    return dict(re.split(r"  +", line, maxsplit=1) for line in text.splitlines())


def of_cline(text):
    given = fields(text)
    return given["Base URL"], given["API key"], given["Model ID"]


def of_cherry_studio(text):
    """It adds the version itself, unless the address ends with a slash."""
    given = fields(text)
    return given["API Host"] + "/v1", given["API Key"], given["Model ID"]


def of_continue(text):
    (model,) = yaml.safe_load(text)["models"]
    return model["apiBase"], model["apiKey"], model["model"]


def of_langchain(text):
    return tuple(re.search(rf'{name}="([^"]+)"', text)[1] for name in ("base_url", "api_key", "model"))


@pytest.mark.parametrize(
    ("name", "read"),
    [("Cline", of_cline), ("Cherry Studio", of_cherry_studio), ("Continue", of_continue), ("LangChain", of_langchain)],
)
def test_setup_of_others_leads_to_answers(gateway, name, read):
    """As they ask: paths after the base URL, and the key as a bearer's."""
    texts = {each.client: each.text for each in setups(f"http://127.0.0.1:{gateway.port}", KEY, "org_auto")}
    base, key, model = read(texts[name])
    client = OpenAI(base_url=base, api_key=key, max_retries=0)
    asked = {"model": model, "messages": [{"role": "user", "content": "[[sim: text=hello]] x"}]}
    parts = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == "hello"
