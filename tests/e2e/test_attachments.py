"""Files that clients send: text reaches the model, everything else is named in a header, in every format."""

import base64

import pytest

from tests.e2e.agents import APIS, ChatAgent, MessagesAgent
from tests.e2e.formats import send
from tests.e2e.installation import KEY


@pytest.fixture(params=APIS, ids=lambda api: api.__name__.removesuffix("Agent"))
def agent(gateway, request, stream):
    return request.param(gateway, stream, tools=())


def with_file(agent, question, data, kind, title):
    """The content of a message with text and a file."""
    encoded = base64.b64encode(data).decode()
    if isinstance(agent, MessagesAgent):
        source = {"type": "base64", "media_type": kind, "data": encoded}
        return [{"type": "document", "source": source, "title": title}, {"type": "text", "text": question}]
    file = {"filename": title, "file_data": f"data:{kind};base64,{encoded}"}
    if isinstance(agent, ChatAgent):
        return [{"type": "file", "file": file}, {"type": "text", "text": question}]
    return [{"type": "input_file", **file}, {"type": "input_text", "text": question}]


def test_a_text_reaches_the_model(gateway, agent):
    question = f"what does the file say to {agent.name}?"
    done = agent.ask(with_file(agent, question, b"# Title\nhello QX", "text/markdown", "notes.md"))
    (asked,) = gateway.asks(question)
    assert "notes.md\n# Title\nhello QX" in asked["questionText"]
    assert "x-lingma-warning" not in done.headers


def test_a_pdf_is_named_in_a_header(gateway, agent):
    question = f"what does the PDF say to {agent.name}?"
    done = agent.ask(with_file(agent, question, b"%PDF-1.4\n", "application/pdf", "报告.pdf"))
    assert done.headers["x-lingma-warning"].endswith(r"PDF '\u62a5\u544a.pdf'")
    (asked,) = gateway.asks(question)
    assert "JVBERi" not in asked["questionText"]


CLIENT_RUN = {
    "/v1/messages": ("bash_20250124", "text_editor_20250728", "memory_20250818", "computer_20250124"),
    "/v1/responses": ("shell", "local_shell", "apply_patch", "computer_use_preview"),
}


@pytest.mark.parametrize("path", CLIENT_RUN)
def test_tools_of_vendors_are_named_in_a_warning(gateway, path):
    hosted = "web_search_20250305" if path == "/v1/messages" else "web_search"  # nobody waits for a call of it
    kinds = (*CLIENT_RUN[path], hosted)
    body = {"model": "org_auto", "tools": [{"type": kind, "name": kind.rpartition("_")[0] or kind} for kind in kinds]}
    question = "[[sim: text=fine]] list the files"
    if path == "/v1/messages":
        body |= {"max_tokens": 100, "messages": [{"role": "user", "content": question}]}
    else:
        body["input"] = question
    answer = send(gateway, "POST", path, key=KEY, body=body)
    assert answer.status == 200
    assert answer.headers["x-lingma-warning"].endswith(f": {', '.join(CLIENT_RUN[path])}")
