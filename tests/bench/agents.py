"""Requests as coding agents send them: many tools, long histories of calls and results."""

import base64
import json
import random
from io import BytesIO

from PIL import Image

PARAGRAPH = (
    "Use it when the task needs exactly this. The path is absolute, or relative to the working directory; results are "
    "cut after two thousand lines. Do not use it for anything else, and prefer it to a command that does the same. "
)
SOURCE_LINE = '    if not isinstance(value, "str"):  # line %04d of a file, as tools give it back\n'


def tools(count):
    """So many function tools with descriptions and schemas of the usual size (about 1.2 KB each)."""
    return [_tool(number) for number in range(count)]


def _tool(number):
    properties = {
        "path": {"type": "string", "description": "The file to work on."},
        "text": {"type": "string", "description": "What to write or to look for."},
        "limit": {"type": "integer", "minimum": 1, "description": "How many at most."},
        "mode": {"type": "string", "enum": ["fast", "careful", "dry-run"]},
        "edits": {"type": "array", "items": {"type": "object", "properties": {"old": {"type": "string"}}}},
    }
    schema = {"type": "object", "properties": properties, "required": ["path"], "additionalProperties": False}
    function = {"name": f"tool_{number}", "description": PARAGRAPH * 2, "parameters": schema}
    return {"type": "function", "function": function}


def history(kilobytes):
    """Rounds of a call and its result, so many KB of JSON together."""
    result = "".join(SOURCE_LINE % number for number in range(min(50, 9 * kilobytes)))
    messages, size = [], 0
    while size < kilobytes << 10:
        call_id = f"call_{len(messages):08d}"
        arguments = json.dumps({"path": f"src/module_{len(messages)}.py", "limit": 2000})
        call = {"id": call_id, "type": "function", "function": {"name": "tool_1", "arguments": arguments}}
        messages += [
            {"role": "assistant", "content": "Let me look at the next file.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": result},
        ]
        size += len(json.dumps(messages[-2:]))
    return messages


def images(count):
    """So many parts of a message, each a PNG of some 100 KB as a `data:` URL."""
    return [{"type": "image_url", "image_url": {"url": _image(number)}} for number in range(count)]


def _image(number):
    side = 180  # of noise, which does not get smaller: 3 bytes a pixel
    buffer = BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(number).randbytes(side * side * 3)).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
