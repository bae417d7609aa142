"""The HttpClient that every JDK has, over plain http, where it asks for HTTP/2 first."""

import json
import re
import shutil
from pathlib import Path

import pytest

from accounts.keys.snippets import setups
from tests.e2e.installation import KEY

MAIN = Path(__file__).parent / "java" / "Main.java"
JAVA = shutil.which("java")


needs_java = pytest.mark.skipif(JAVA is None, reason="no java is installed on this machine")


@needs_java
def test_shown_java_works_as_it_stands(gateway, folder, tmp_path):
    texts = {each.client: each.text for each in setups(f"http://127.0.0.1:{gateway.port}", KEY, "org_auto")}
    (tmp_path / "Main.java").write_text(texts["Java"])
    gateway.control(text="Hello from Lingma")
    try:
        reply = json.loads(folder.run([JAVA, tmp_path / "Main.java"]))
    finally:
        gateway.control()
    assert reply["choices"][0]["message"]["content"] == "Hello from Lingma"


@needs_java
@pytest.mark.parametrize("reuse", [True], indirect=True, ids=["reuse"])
def test_the_stock_client_of_java_gets_its_answers(gateway, folder):
    gateway.control(text="Hello from Lingma")
    try:
        printed = folder.run([JAVA, MAIN, f"http://127.0.0.1:{gateway.port}", KEY, "Hello"])
    finally:
        gateway.control()
    seen = {name: (int(status), body) for name, status, body in re.findall(r"^([\w-]+) (\d+) (.*)$", printed, re.M)}
    assert len(seen) == 14
    assert {status for name, (status, _) in seen.items() if not name.startswith("bad")} == {200}
    spoken = ("chat", "messages", "responses")
    assert all("Hello from Lingma" in body for name, (_, body) in seen.items()
               if name.removesuffix("-again") in spoken)  # fmt: skip
    assert seen["chat-streamed"][1].endswith(r"data: [DONE]\n\n")
    assert r"event: message_stop\n" in seen["messages-streamed-again"][1]
    assert all(seen[name][0] == 400 and "messages" in seen[name][1] for name in ("bad", "bad-again"))
