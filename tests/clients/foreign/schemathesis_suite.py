"""schemathesis over the part of OpenAI's own document that is served: requests and answers keep to its schemas."""

import json
import os
from pathlib import Path

import httpx
import hypothesis
import pytest
import schemathesis
from jsonschema_rs import validator_for
from obedience import tell

BASE = f"{os.environ['GATEWAY_BASE']}/v1"
HEADERS = {"Authorization": f"Bearer {os.environ['GATEWAY_KEY']}"}


def with_nulls(value):
    """The document with `nullable`, a word of OpenAPI 3.0 that it still uses, in the words of 3.1."""
    if isinstance(value, list):
        return [with_nulls(each) for each in value]
    if not isinstance(value, dict):
        return value
    plain = {name: with_nulls(each) for name, each in value.items() if name != "nullable" or each is not True}
    return {"anyOf": [plain, {"type": "null"}]} if len(plain) < len(value) else plain


DOCUMENT = with_nulls(json.loads(Path(__file__).with_name("openai.json").read_text()))
SCHEMAS = DOCUMENT["components"]["schemas"]
# The document has no null here; OpenAI's own answers have.
for properties, field in (
    (SCHEMAS["CreateChatCompletionResponse"]["properties"], "system_fingerprint"),
    (SCHEMAS["CreateChatCompletionStreamResponse"]["properties"], "system_fingerprint"),
    (SCHEMAS["ModelResponseProperties"]["properties"], "user"),
    (SCHEMAS["Response"]["allOf"][2]["properties"], "usage"),
):
    properties[field] = {"anyOf": [properties[field], {"type": "null"}]}


def flaws(name, value):
    """What the document's schema of that name says of a value."""
    whole = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return [f"{error.instance_path}: {error.message[:200]}" for error in validator_for(whole).iter_errors(value)]


schema = schemathesis.openapi.from_dict(DOCUMENT)
schema.config.update(base_url=BASE)
CHECKS = [schemathesis.checks.not_a_server_error, schemathesis.checks.response_schema_conformance]


@pytest.fixture(autouse=True)
def short_answers():
    tell(text="Hello.")


@schema.parametrize()
@hypothesis.settings(
    max_examples=15, derandomize=True, deadline=None, database=None,
    suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
)  # fmt: skip
def test_the_document_is_kept(case):
    answer = case.call(headers=HEADERS)
    if answer.status_code >= 400:
        assert answer.status_code < 500, answer.text
        assert flaws("ErrorResponse", answer.json()) == []
    elif answer.headers["content-type"][0].startswith("text/event-stream"):
        assert answer.text.rstrip().endswith(("data: [DONE]", "}")), answer.text
    else:
        case.validate_response(answer, checks=CHECKS)


EVENTS = {
    kind: reference["$ref"].rpartition("/")[2]
    for reference in SCHEMAS["ResponseStreamEvent"]["anyOf"]
    for kind in SCHEMAS[reference["$ref"].rpartition("/")[2]]["properties"]["type"]["enum"]
}


def ask(method, path, **body):
    return httpx.request(method, f"{BASE}{path}", headers=HEADERS, json=body or None, timeout=20)


def events(answer):
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


TOOL = {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {"a": {}}}}
PLANS = [[{"say": "Hello."}], [{"think": "Hm.", "say": "I call.", "call": "add", "arguments": {"a": 1}}]]


@pytest.mark.parametrize("plan", PLANS, ids=["text", "call"])
def test_each_event_keeps_to_the_document(plan):
    tell(plan=plan)
    question = {"model": "org_auto", "stream": True}
    chunks = events(ask("POST", "/chat/completions", **question, stream_options={"include_usage": True},
                        messages=[{"role": "user", "content": "x"}],
                        tools=[{"type": "function", "function": TOOL}]))  # fmt: skip
    assert len(chunks) > 2
    assert [flaws("CreateChatCompletionStreamResponse", chunk) for chunk in chunks] == [[]] * len(chunks)
    told = events(ask("POST", "/responses", **question, input="x", reasoning={"summary": "auto"},
                      tools=[{"type": "function", "strict": False, **TOOL}]))  # fmt: skip
    assert told[-1]["type"] == "response.completed"
    assert [flaws(EVENTS[event["type"]], event) for event in told] == [[]] * len(told)


def test_stored_response_keeps_to_the_document():
    tell(plan=PLANS[1])
    made = ask("POST", "/responses", model="org_auto", input="x", metadata={"a": "b"},
               tools=[{"type": "function", "strict": False, **TOOL}]).json()  # fmt: skip
    path = f"/responses/{made['id']}"
    assert flaws("Response", made) == []
    assert ask("GET", path).json() == made
    assert flaws("ResponseItemList", ask("GET", f"{path}/input_items").json()) == []
    assert ask("DELETE", path).status_code == 200
    assert flaws("ErrorResponse", ask("GET", path).json()) == []
