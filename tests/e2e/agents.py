"""One agent on three APIs, through the official SDKs: it asks, gets calls, sends results, and keeps the history."""

import atexit
import base64
import json
from dataclasses import dataclass, field
from functools import cache

import anthropic
import openai

from tests.e2e.installation import KEY

READ = ("read_file", "Read a file.", {"path": {"type": "string"}}, ["path"])
WRITE = ("write_file", "Write a file.", {"path": {"type": "string"}, "text": {"type": "string"}}, ["path", "text"])
CLOCK = ("clock", "Tell the time.", {}, [])
TOOLS = (READ, WRITE, CLOCK)


def plan(*steps, **knobs):
    """A marker that has the simulator's model take these steps, one each turn."""
    told = "".join(f" {name}={json.dumps(value)}" for name, value in knobs.items())
    return f"[[sim: plan={json.dumps(json.dumps(list(steps)))}{told}]]"


def hidden(value):
    """A knob's value that does not stand in the request: a guessed call that does is no call."""
    return "base64:" + base64.b64encode(value.encode()).decode()


def hidden_plan(*steps):
    """The same as `plan`, for steps that write calls without marks."""
    return f"[[sim: plan={hidden(json.dumps(list(steps)))}]]"


def call(name, **arguments):
    """A step, or a part of one, that calls a tool."""
    return {"call": name, "arguments": arguments}


def schema_of(tool):
    """The JSON schema of a tool's arguments."""
    _, _, properties, required = tool
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


@dataclass
class Round:
    """What came of one request."""

    text: str
    calls: list[tuple[str, str, dict]]
    """(id, name, arguments) of each."""
    finish: str
    headers: dict
    thinking: str = ""
    whole: object = None

    @property
    def session(self):
        return self.headers["x-lingma-session"]

    @property
    def request_id(self):
        return self.headers["x-request-id"]

    @property
    def names(self):
        return [name for _, name, _ in self.calls]

    @property
    def arguments(self):
        return [arguments for _, _, arguments in self.calls]


@dataclass
class Agent:
    """Stateless towards the gateway: every request holds the whole history. A subclass speaks one API."""

    gateway: object
    stream: bool
    tools: tuple = TOOLS
    more: dict = field(default_factory=dict)
    """Fields of every request."""
    history: list = field(default_factory=list)

    def ask(self, text, **more) -> Round:
        """Say something."""
        self.history.append({"role": "user", "content": text})
        return self._go(more)

    def answer(self, done, *results, failed=False, **more) -> Round:
        """Send the results of the calls of the last round, in their order."""
        assert len(done.calls) == len(results)
        self._add_results([(id_, text) for (id_, _, _), text in zip(done.calls, results, strict=True)], failed)
        return self._go(more)

    @property
    def name(self):
        """Unlike that of the others, for questions that are looked for."""
        return f"{type(self).__name__} {self.stream}"

    def body(self, text, **more):
        """The JSON of a first request, for tests that look at the bytes of its answer."""
        told = {self.turns: [{"role": "user", "content": text}], "stream": self.stream, **self.needs}
        return {"model": "org_auto", "tools": [self.declared(tool) for tool in self.tools], **told, **more}

    def _go(self, more) -> Round:
        asked = {"model": "org_auto", **self.more, **more}
        if self.tools:
            asked.setdefault("tools", [self.declared(tool) for tool in self.tools])
        return self._request(asked)


class ChatAgent(Agent):
    """Chat Completions."""

    turns, needs = "messages", {}
    waits, ends, cut = "tool_calls", "stop", "length"
    required, prefix, path = {"tool_choice": "required"}, "call_", "/v1/chat/completions"
    none = {"tool_choice": "none"}  # noqa: RUF012
    single = {"parallel_tool_calls": False}  # noqa: RUF012
    thinks = {"reasoning_effort": "high"}  # noqa: RUF012

    @staticmethod
    def declared(tool):
        function = {"name": tool[0], "description": tool[1], "parameters": schema_of(tool), "strict": True}
        return {"type": "function", "function": function}

    @staticmethod
    def named(name):
        return {"tool_choice": {"type": "function", "function": {"name": name}}}

    def _add_results(self, results, failed):
        self.history += [{"role": "tool", "tool_call_id": id_, "content": text} for id_, text in results]

    def _request(self, asked):
        client = client_of(self.gateway, openai.OpenAI)
        if self.stream:
            with client.chat.completions.stream(messages=self.history, **asked) as stream:
                whole = stream.get_final_completion()
                headers = stream._response.headers
        else:
            raw = client.chat.completions.with_raw_response.create(messages=self.history, **asked)
            whole, headers = raw.parse(), raw.headers
        [choice] = whole.choices
        message = choice.message
        self.history.append(message.to_dict(exclude_unset=True, exclude_none=True))
        for each in self.history[-1].get("tool_calls", []):
            each["function"].pop("parsed_arguments", None)
        calls = [
            (each.id, each.function.name, json.loads(each.function.arguments)) for each in message.tool_calls or []
        ]
        thinking = getattr(message, "reasoning_content", None) or ""
        return Round(message.content or "", calls, choice.finish_reason, headers, thinking, whole)


class MessagesAgent(Agent):
    """Anthropic Messages."""

    turns, needs = "messages", {"max_tokens": 100_000}
    waits, ends, cut = "tool_use", "end_turn", "max_tokens"
    required, prefix, path = {"tool_choice": {"type": "any"}}, "toolu_", "/v1/messages"
    none = {"tool_choice": {"type": "none"}}  # noqa: RUF012
    single = {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}  # noqa: RUF012
    thinks = {"thinking": {"type": "enabled", "budget_tokens": 1024}}  # noqa: RUF012

    @staticmethod
    def declared(tool):
        return {"name": tool[0], "description": tool[1], "input_schema": schema_of(tool)}

    @staticmethod
    def named(name):
        return {"tool_choice": {"type": "tool", "name": name}}

    def _add_results(self, results, failed):
        more = {"is_error": True} if failed else {}
        blocks = [{"type": "tool_result", "tool_use_id": id_, "content": text, **more} for id_, text in results]
        self.history.append({"role": "user", "content": blocks})

    def _request(self, asked):
        asked = {**self.needs, **asked}
        client = client_of(self.gateway, anthropic.Anthropic)
        if self.stream:
            with client.messages.stream(messages=self.history, **asked) as stream:
                whole = stream.get_final_message()
                headers = stream.response.headers
        else:
            raw = client.messages.with_raw_response.create(messages=self.history, timeout=30, **asked)
            whole, headers = raw.parse(), raw.headers
        blocks = [block.to_dict(exclude_none=True) for block in whole.content]
        self.history.append({"role": "assistant", "content": blocks})
        calls = [(block.id, block.name, block.input) for block in whole.content if block.type == "tool_use"]
        text = "".join(block.text for block in whole.content if block.type == "text")
        thinking = "".join(block.thinking for block in whole.content if block.type == "thinking")
        return Round(text, calls, whole.stop_reason, headers, thinking, whole)


class ResponsesAgent(Agent):
    """OpenAI Responses."""

    turns, needs = "input", {}
    waits, ends, cut = "completed", "completed", "incomplete"
    required, prefix, path = {"tool_choice": "required"}, "call_", "/v1/responses"
    none = {"tool_choice": "none"}  # noqa: RUF012
    single = {"parallel_tool_calls": False}  # noqa: RUF012
    thinks = {"reasoning": {"effort": "high", "summary": "auto"}}  # noqa: RUF012

    @staticmethod
    def declared(tool):
        return {
            "type": "function", "name": tool[0], "description": tool[1], "parameters": schema_of(tool), "strict": True,
        }  # fmt: skip

    @staticmethod
    def named(name):
        return {"tool_choice": {"type": "function", "name": name}}

    def _add_results(self, results, failed):
        self.history += [{"type": "function_call_output", "call_id": id_, "output": text} for id_, text in results]

    def _request(self, asked):
        client = client_of(self.gateway, openai.OpenAI)
        if self.stream:
            with client.responses.stream(input=self.history, **asked) as stream:
                whole = stream.get_final_response()
                headers = stream._response.headers
        else:
            raw = client.responses.with_raw_response.create(input=self.history, **asked)
            whole, headers = raw.parse(), raw.headers
        items = [item.to_dict(exclude_none=True) for item in whole.output]
        self.history += [{k: v for k, v in item.items() if k != "parsed_arguments"} for item in items]
        found = [item for item in whole.output if item.type == "function_call"]
        calls = [(item.call_id, item.name, json.loads(item.arguments)) for item in found]
        summaries = [part.text for item in whole.output if item.type == "reasoning" for part in item.summary]
        return Round(whole.output_text, calls, whole.status, headers, "".join(summaries), whole)


APIS = (ChatAgent, MessagesAgent, ResponsesAgent)


@cache
def client_of(gateway, kind):
    """An SDK's client; it repeats nothing by itself. They are closed when the tests are over."""
    url = f"http://127.0.0.1:{gateway.port}" + ("/v1" if kind is openai.OpenAI else "")
    client = kind(base_url=url, api_key=KEY, max_retries=0, timeout=30)
    atexit.register(client.close)
    return client
