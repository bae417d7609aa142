"""Every set-up that is shown anywhere is run as it stands there: the new key's page, the key holder's, the README."""

import os
import re
import subprocess
from html import unescape

import pytest

from tests.e2e import shell
from tests.e2e.formats import send
from tests.e2e.installation import KEY, ROOT, django, until

RUN = {"OpenAI SDK": "python", "Anthropic SDK": "python", "curl": "sh"}
"""Those that need no other program; agents are run in tests/clients."""
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
    assert all(model in text for name, text in texts.items() if name in ("Codex", "opencode", "Cline", "aider"))


def readme_blocks():
    """The blocks of "First chat" that need no other program."""
    part = (ROOT / "README.md").read_text().partition("## First chat")[2].partition("\n## ")[0]
    return [(kind, text) for kind, text in re.findall(r"```(\w+)\n(.*?)```", part, re.DOTALL)
            if kind == "python" or "curl" in text]  # fmt: skip


def test_readme_works_as_it_stands(gateway):
    blocks = readme_blocks()
    assert [kind for kind, _ in blocks] == ["sh", "python", "python"]
    for kind, text in blocks:
        here = text.replace("127.0.0.1:8317", f"127.0.0.1:{gateway.port}").replace("lgw_...", KEY)
        said = run(kind, f"LINGMA_GATEWAY_KEY={KEY}\n{here}" if kind == "sh" else here)
        assert "[DONE]" in said if kind == "sh" else said.strip()
