"""People who share a key, each with a conversation of his own on every API; and a service that keeps a book."""

import base64
import copy
import io
import json
import re
from collections import defaultdict

from PIL import Image

from bridge.chat.events import TextDelta, ToolCallDelta, ToolCallStarted
from bridge.http.conversation_ids import identified
from bridge.wire.anthropic import format as anthropic
from bridge.wire.openai import format as openai_chat
from bridge.wire.responses import format as responses
from tests.bridge.chats import say
from tests.bridge.lingma.service import finish

FORMATS = {"chat": openai_chat.FORMAT, "messages": anthropic.FORMAT, "responses": responses.FORMAT}
SYSTEM = "You help.\nToday is 2026-11-22.\nThe dose: 10:30, May 5, 123-45-6789.\nif a:\n  b()"
UUID = "3f2b8c1e-5d47-4a96-b0de-7c1f9e8a2d%02d"
CALL = re.compile(r"<call:(\w{10})>")


def picture(colour):
    data = io.BytesIO()
    Image.new("RGB", (1, 1), colour).save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


PICTURES = [picture("red"), picture("blue")]


class Book:
    """A service that writes down what each of its sessions was told, shown and said. It calls a tool when it hears
    CALL, and takes some of the pictures.
    """

    def __init__(self):
        self.told = defaultdict(list)
        self.seen = defaultdict(set)
        self.takes = lambda: True

    async def on_ask(self, peer, params):
        session, prompt = params["sessionId"], params["questionText"]
        self.seen[session].update(params["chatContext"].get("imageUrls", ()))
        told = self.told[session]
        told.append(prompt)
        marks = CALL.findall("\n".join(told))
        calls = marks and prompt.rfind("CALL") > prompt.rfind("TALK")
        text = f'<call:{marks[-1]}>{{"name":"save","arguments":{{}}}}</call:{marks[-1]}>' if calls else "Sure."
        told.append(text)
        await say(peer, params, text)
        await peer.push(finish(params["requestId"], sessionId=session))

    async def on_upload(self, peer, params):
        """It calls a picture what it is, so that what was shown can be told."""
        error = None if self.takes() else "FILE_TOO_LARGE"
        result = {"requestId": params["requestId"], "imageUrl": "" if error else params["imageUri"]}
        params = {"errorCode": error, "errorMessage": error, "result": result}
        await peer.send({"jsonrpc": "2.0", "method": "image/uploadResultNotification", "params": params})


class Person:
    """One conversation. What only this person says holds a word with the person's name in it; `said` are those and
    what was said before it was forked.
    """

    def __init__(self, dice, name, api, items, **fields):
        self.dice, self.name, self.api, self.items, self.fields = dice, name, api, items, fields
        self.said = set()
        self.headers = {}
        self.proven = False

    def fork(self, name):
        """Another one who goes on from here."""
        other = Person(self.dice, name, self.api, copy.deepcopy(self.items), **copy.deepcopy(self.fields))
        other.said, other.proven = set(self.said), self.proven
        return other

    def word(self):
        """One that nobody else says."""
        word = f"word{len(self.said) + 1}of{self.name}"
        self.said.add(word)
        return word

    def change(self, index):
        """Say one item otherwise, visibly or only in what agents leave out."""
        kind, text, *rest = self.items[index]
        self.items[index] = (kind, self.dice.choice(CHANGES[kind])(text, self.word()), *rest)

    def stir(self):
        """One of the things that agents, frameworks and people do to a history before they send it again."""
        dice, items = self.dice, self.items
        users = [index for index, item in enumerate(items) if item[0] == "user"]
        calls = [index for index, item in enumerate(items) if item[0] == "assistant" and item[2]]
        match dice.choice(["late", "late", "withdraw", "remind", "remind", "edit", "spell", "tools", "picture"]):
            case "late":
                items.insert(dice.choice([users[-1], users[-1], *users]), ("late", f"late{self.word()}"))
            case "withdraw":
                if late := [index for index, item in enumerate(items) if item[0] == "late"]:
                    items.pop(dice.choice(late))
            case "remind":
                items.insert(dice.choice(users), ("user", reminder("", self.word())))
            case "edit" if calls:
                self._give(calls[-1], json.dumps({"a": self.word()}))
            case "spell" if calls:
                for index in calls:
                    self._give(index, json.dumps(json.loads(items[index][2][0][2]), indent=1))
            case "tools" if "tools" in self.fields:
                self.fields["tools"] = [tool_for(self.api, f"Saves. {self.word()}")]
            case "picture":
                items[users[-1]] = ("user", items[users[-1]][1], dice.choice(PICTURES))

    def _give(self, index, arguments):
        kind, text, [(id_, name, _), *more] = self.items[index]
        self.items[index] = (kind, text, [(id_, name, arguments), *more])

    def body(self):
        return SPELLED[self.api](self.items, {"model": "org_auto", **self.fields})

    def request(self):
        parsed = FORMATS[self.api].parse(json.dumps(self.body()).encode()).request
        return identified(parsed, {name.encode(): value.encode() for name, value in self.headers.items()})

    def hear(self, events, then):
        """Take the reply into the history, as a client does, and say something more."""
        text = "".join(each.text for each in events if isinstance(each, TextDelta))
        calls = [(each.id, each.name) for each in events if isinstance(each, ToolCallStarted)]
        arguments = "".join(each.text for each in events if isinstance(each, ToolCallDelta))
        if calls and "functions" in self.fields:
            self.items += [("old call", arguments, "save"), ("old result", "done", "save")]
        elif calls:
            self.proven = True
            made = [(id_, name, arguments) for id_, name in calls]
            self.items += [("assistant", text, made), *(("result", "done", id_) for id_, _ in calls)]
        else:
            self.items.append(("assistant", text, []))
        self.items.append(("user", then))


def reminder(text, word):
    return f"<system-reminder>{word}</system-reminder>{text}"


def appended(text, word):
    return f"{text} {word}"


def dated(text, word):
    return text.replace("11-22", f"12-{word[4 : word.index('of')]:0>2}")


CHANGES = {
    "system": [
        reminder, appended, dated, lambda text, word: f"x-anthropic-billing-header: {word}\n{text}",
        lambda text, _: text.replace("  b()", "b()"), lambda text, _: text.replace("6789", "1111"),
        lambda text, _: text.replace("10:30", "12:59").replace("May 5", "May 9"), lambda _, word: f"Be brief. {word}",
    ],
    "late": [
        lambda text, word: f"{text} late{word}", reminder, lambda _, word: f"late{word}", lambda *_: " ",
        lambda text, _: f"{text}\nToday is 2026-11-22.",
    ],
    "user": [reminder, appended, lambda text, _: f" {text}", lambda text, _: f"{text}\r\n"],
    "assistant": [appended, lambda text, _: f"{text}\n", lambda text, _: text.replace("u", "u ")],
    "result": [reminder, appended, lambda text, _: f"{text}\n"],
    "old call": [lambda _, word: json.dumps({"a": word})],
    "old result": [reminder, appended],
}  # fmt: skip


def in_chat(items, body):
    messages = []
    for kind, text, *rest in items:
        match kind:
            case "system" | "late":
                messages.append({"role": "system", "content": text})
            case "user":
                shown = [{"type": "image_url", "image_url": {"url": url}} for url in rest]
                messages.append({"role": "user", "content": [{"type": "text", "text": text}, *shown]})
            case "assistant":
                calls = [
                    {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
                    for id_, name, arguments in rest[0]
                ]
                messages.append({"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})})
            case "result":
                messages.append({"role": "tool", "tool_call_id": rest[0], "content": text})
            case "old call":
                called = {"name": rest[0], "arguments": text}
                messages.append({"role": "assistant", "content": None, "function_call": called})
            case "old result":
                messages.append({"role": "function", "name": rest[0], "content": text})
    return {**body, "messages": messages}


def in_messages(items, body):
    messages, system = [], []
    for kind, text, *rest in items:
        block = {"type": "text", "text": text}
        match kind:
            case "system":
                system.append(block)
            case "late":
                messages.append({"role": "system", "content": text})
            case "user":
                shown = [{"type": "image", "source": source_of(url)} for url in rest]
                messages.append({"role": "user", "content": [block, *shown] if shown else text})
            case "assistant":
                calls = [
                    {"type": "tool_use", "id": id_, "name": name, "input": json.loads(arguments)}
                    for id_, name, arguments in rest[0]
                ]
                messages.append({"role": "assistant", "content": [*([block] if text else []), *calls]})
            case "result":
                result = {"type": "tool_result", "tool_use_id": rest[0], "content": [block]}
                messages.append({"role": "user", "content": [result]})
    return {**body, "max_tokens": 1000, "system": system, "messages": messages}


def source_of(url):
    return {"type": "base64", "media_type": "image/png", "data": url.partition(",")[2]}


def in_responses(items, body):
    spelled = []
    for kind, text, *rest in items:
        match kind:
            case "system" | "late":
                spelled.append({"role": "developer", "content": text})
            case "user" | "assistant":
                shown = [{"type": "input_image", "image_url": url} for url in rest if kind == "user"]
                if text:
                    words = {"type": "input_text", "text": text}
                    spelled.append({"role": kind, "content": [words, *shown] if shown else text})
                for id_, name, arguments in rest[0] if kind == "assistant" else ():
                    call = {"type": "function_call", "call_id": id_, "name": name, "arguments": arguments}
                    spelled.append(call)
            case "result":
                spelled.append({"type": "function_call_output", "call_id": rest[0], "output": text})
    return {**body, "input": spelled}


SPELLED = {"chat": in_chat, "messages": in_messages, "responses": in_responses}


def tool_for(api, description):
    schema = {"type": "object", "properties": {}}
    match api:
        case "messages":
            return {"name": "save", "description": description, "input_schema": schema}
        case "responses":
            return {"type": "function", "name": "save", "description": description, "parameters": schema}
    return {"type": "function", "function": {"name": "save", "description": description, "parameters": schema}}


def demanding_json(api, word):
    schema = {"type": "object", "description": word}
    match api:
        case "messages":
            return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
        case "responses":
            return {"text": {"format": {"type": "json_schema", "name": "n", "schema": schema}}}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}
