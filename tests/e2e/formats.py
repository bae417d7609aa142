"""The public formats as a client without an SDK speaks them, over plain sockets."""

import http.client
import json
import socket
import struct
from dataclasses import dataclass, field

PATIENCE = 60.0
"""Seconds that a client waits for the next byte: a busy machine takes its time, what hangs ends."""


@dataclass
class Answer:
    """A whole answer, streamed or not."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def streamed(self):
        return self.headers.get("content-type", "").startswith("text/event-stream")

    def json(self):
        return json.loads(self.body)

    @property
    def events(self):
        """The data of each event, comments left out."""
        lines = [line for line in self.body.decode().split("\n") if line.startswith("data: ")]
        return [json.loads(line[6:]) for line in lines if line != "data: [DONE]"]

    @property
    def text(self):
        """What the model said."""
        return "".join(map(said, self.events if self.streamed else [self.json()]))

    @property
    def error(self):
        """The error object, of the body or of the event in mid-stream."""
        found = [each["error"] for each in (self.events if self.streamed else [self.json()]) if each.get("error")]
        assert len(found) < 2
        return found[0] if found else None

    @property
    def finish(self):
        """How the model's turn ended, in the words of the format."""
        parts = self.events if self.streamed else [self.json()]
        found = [reason for part in parts if (reason := finish_of(part))]
        assert len(found) < 2
        return found[0] if found else None

    @property
    def usage(self):
        """(input, output) tokens as told last."""
        told = [each for part in (self.events if self.streamed else [self.json()]) if (each := usage_of(part))]
        merged = {name: value for each in told for name, value in each.items()}
        names = (
            ("prompt_tokens", "completion_tokens") if "prompt_tokens" in merged else ("input_tokens", "output_tokens")
        )
        return merged[names[0]], merged[names[1]]


def said(part):
    """The text in one object of any format."""
    if part.get("object") == "response":
        return "".join(block["text"] for item in part["output"] for block in item["content"])
    if part.get("type") == "response.output_text.delta":
        return part["delta"]
    if part.get("type", "").startswith("response."):
        return ""
    if "choices" in part:
        choices = part["choices"]
        return ((choices[0].get("delta") or choices[0].get("message") or {}).get("content") or "") if choices else ""
    if part.get("type") == "message":
        return "".join(block["text"] for block in part["content"])
    return part.get("delta", {}).get("text", "")


def finish_of(part):
    """`finish_reason` or `stop_reason` in one object of either format."""
    if part.get("choices"):
        return part["choices"][0].get("finish_reason")
    return part.get("stop_reason") or part.get("delta", {}).get("stop_reason")


def usage_of(part):
    """The usage in one object of either format."""
    return part.get("usage") or part.get("message", {}).get("usage")


@dataclass(frozen=True)
class PublicFormat:
    """What differs between the formats."""

    name: str
    path: str
    fields: dict = field(hash=False)
    keep_alive: bytes
    done: str
    busy: int

    def body(self, prompt, *, stream=False, **more):
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        return {
            "model": "org_auto",
            "messages": messages,
            **self.fields,
            **({"stream": True} if stream else {}),
            **more,
        }

    def __str__(self):
        return self.name


class ResponsesFormat(PublicFormat):
    """Responses, as far as prompts and texts go."""

    def body(self, prompt, *, stream=False, **more):
        return {"model": "org_auto", "input": prompt, "stream": stream, **more}


OPENAI = PublicFormat("openai", "/v1/chat/completions", {}, b": keep-alive\n", "stop", 429)
ANTHROPIC = PublicFormat("anthropic", "/v1/messages", {"max_tokens": 10_000_000}, b"event: ping\n", "end_turn", 529)
RESPONSES = ResponsesFormat("responses", "/v1/responses", {}, b"event: keepalive\n", "completed", 429)
FORMATS = (OPENAI, ANTHROPIC)


def head_of(body, key, headers):
    """Body and headers of a request; a body that is bytes goes as it is."""
    data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
    told = {"content-type": "application/json"} if data else {}
    if key:
        told["authorization"] = f"Bearer {key}"
    return data, told | (headers or {})


def exchange(connection, method, path, *, body=None, key=None, headers=None):
    """One request on a connection that may serve more."""
    data, told = head_of(body, key, headers)
    connection.request(method, path, body=data, headers=told)
    response = connection.getresponse()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


def send(gateway, method, path, **more):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
    try:
        return exchange(connection, method, path, **more)
    finally:
        connection.close()


class Stream:
    """A streamed turn that is read line by line. Use as a context; leaving it early is a hang-up."""

    def __init__(self, gateway, wire, prompt, *, key, receive_buffer=0, **more):
        self.connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
        if receive_buffer:
            self.connection.sock = socket.socket()
            self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.connection.sock.connect(("127.0.0.1", gateway.port))
        data, headers = head_of(wire.body(prompt, **{"stream": True, **more}), key, None)
        self.connection.request("POST", wire.path, body=data, headers=headers)
        self.response = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.hang_up()

    def begin(self):
        """Wait for the headers."""
        if self.response is None:
            self.response = self.connection.getresponse()
        return self

    @property
    def status(self):
        return self.begin().response.status

    @property
    def request_id(self):
        return self.begin().response.headers["x-request-id"]

    def until(self, wanted):
        """Read up to a line that holds these bytes; return all lines so far."""
        lines = []
        while line := self.begin().response.readline():
            lines.append(line)
            if wanted in line:
                return lines
        raise AssertionError(f"no {wanted!r} in {lines}")

    def rest(self):
        """Read to the end; the answer without what `until` has taken."""
        headers = {name.lower(): value for name, value in self.begin().response.getheaders()}
        return Answer(self.status, headers, self.response.read())

    def hang_up(self):
        """Close, at once and whatever is unread."""
        if self.connection.sock is not None:
            self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self.response is not None:
            self.response.close()
        self.connection.close()
