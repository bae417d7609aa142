"""The official SDKs for Python, streamed, with tools that really run."""

import json
import subprocess

import anthropic
import openai
import pytest

from tests.clients.task import ANSWER, COMMAND, MODEL, PROMPT, watched
from tests.e2e.installation import KEY

PLAN = [
    {"think": "I must look first.", "say": "I look.", "call": "read_file", "arguments": {"path": "a.txt"}},
    {"call": "write_file", "arguments": {"path": "a.txt", "content": "goodbye\n"}},
    {"say": "Copying.", "call": "run", "arguments": {"command": COMMAND}},
    ANSWER,
]
SCHEMAS = {
    name: {"type": "object", "properties": {each: {"type": "string"} for each in fields}, "required": fields}
    for name, fields in {"read_file": ["path"], "write_file": ["path", "content"], "run": ["command"]}.items()
}


class Tools:
    """What the model may call, in a folder."""

    def __init__(self, work):
        self.work = work

    def call(self, name, arguments):
        return getattr(self, name)(**arguments)

    def read_file(self, path):
        return (self.work / path).read_text()

    def write_file(self, path, content):
        (self.work / path).write_text(content)
        return "written"

    def run(self, command):
        return subprocess.run(command, shell=True, cwd=self.work, capture_output=True, text=True, check=True).stdout


def chat(base, tools):
    """By the stream helper, with whole histories."""
    offered = [{"type": "function", "function": {"name": name, "parameters": schema}}
               for name, schema in SCHEMAS.items()]  # fmt: skip
    messages = [{"role": "user", "content": PROMPT}]
    with openai.OpenAI(base_url=f"{base}/v1", api_key=KEY, max_retries=0) as client:
        while True:
            with client.chat.completions.stream(model=MODEL, messages=messages, tools=offered) as stream:
                message = stream.get_final_completion().choices[0].message
            if not message.tool_calls:
                return message.content
            messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
            messages += [
                {"role": "tool", "tool_call_id": call.id,
                 "content": tools.call(call.function.name, json.loads(call.function.arguments))}
                for call in message.tool_calls
            ]  # fmt: skip


def responses(base, tools):
    """Each request goes on from the answer before it, which the gateway has kept."""
    offered = [{"type": "function", "name": name, "parameters": schema, "strict": False}
               for name, schema in SCHEMAS.items()]  # fmt: skip
    asked, previous = PROMPT, None
    with openai.OpenAI(base_url=f"{base}/v1", api_key=KEY, max_retries=0) as client:
        while True:
            request = {"model": MODEL, "input": asked, "tools": offered, "previous_response_id": previous}
            with client.responses.stream(**request) as stream:
                response = stream.get_final_response()
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                return response.output_text
            asked = [
                {"type": "function_call_output", "call_id": call.call_id,
                 "output": tools.call(call.name, json.loads(call.arguments))}
                for call in calls
            ]  # fmt: skip
            previous = response.id


def messages(base, tools):
    """With thinking, whose blocks go back as they came."""
    offered = [{"name": name, "input_schema": schema} for name, schema in SCHEMAS.items()]
    history = [{"role": "user", "content": PROMPT}]
    thinking = {"type": "enabled", "budget_tokens": 2048}
    with anthropic.Anthropic(base_url=base, api_key=KEY, max_retries=0) as client:
        while True:
            request = {"model": MODEL, "max_tokens": 4096, "messages": history, "tools": offered, "thinking": thinking}
            with client.messages.stream(**request) as stream:
                message = stream.get_final_message()
            history.append({"role": "assistant", "content": [block.to_dict() for block in message.content]})
            if message.stop_reason != "tool_use":
                return message.content[-1].text
            results = [
                {"type": "tool_result", "tool_use_id": block.id, "content": tools.call(block.name, block.input)}
                for block in message.content if block.type == "tool_use"
            ]  # fmt: skip
            history.append({"role": "user", "content": results})


def runner(base, tools):
    """By the tool runner, which first tries to leave the history to the server."""
    offered = [
        anthropic.beta_tool(getattr(tools, name), name=name, description=name, input_schema=schema)
        for name, schema in SCHEMAS.items()
    ]
    with anthropic.Anthropic(base_url=base, api_key=KEY, max_retries=0) as client:
        request = {"model": MODEL, "max_tokens": 4096, "messages": [{"role": "user", "content": PROMPT}]}
        streams = client.beta.messages.tool_runner(**request, tools=offered, stream=True)
        return [stream.get_final_message() for stream in streams][-1].content[-1].text


@pytest.mark.parametrize("client", [chat, responses, messages, runner], ids=lambda client: client.__name__)
def test_an_sdk_runs_its_tools_to_the_end(client, gateway, folder, reuse, report):
    with watched(gateway, PLAN) as seen:
        told = client(f"http://127.0.0.1:{gateway.port}", Tools(folder.work))
    assert told.strip() == "Done, as the last result proves: copied goodbye"
    assert folder.is_done()
    assert [each.is_reply for each in seen] == [False, reuse, reuse, reuse]
    report(f"Python SDK, {client.__name__}", seen)


@pytest.mark.parametrize("style", ["push", "fence", "tags"])
@pytest.mark.parametrize("reuse", [True], indirect=True, ids=["reuse"])
def test_short_verdict_survives_long_thinking(style, gateway):
    """Claude Code's auto mode asks so before it runs a command, and runs nothing when it gets no verdict."""
    marker = f'[[sim: think="{"Let me see. " * 200}" think_style={style} delay_ms=0 text="<block>no</block> because"]]'
    with anthropic.Anthropic(base_url=f"http://127.0.0.1:{gateway.port}", api_key=KEY, max_retries=0) as client:
        message = client.messages.create(
            model="claude-sonnet-5", max_tokens=64, stop_sequences=["</block>"], thinking={"type": "disabled"},
            messages=[{"role": "user", "content": f"{marker} <transcript>…</transcript>"}],
        )  # fmt: skip
    assert (message.content[0].text, message.stop_reason, message.stop_sequence) == (
        "<block>no",
        "stop_sequence",
        "</block>",
    )
