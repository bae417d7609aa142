"""What concerns one turn."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

NUMBERS = msgspec.Meta(pattern=r"^(-?\d+(,-?\d+)*)?$")


class TurnOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What concerns one turn; the only ones a marker may set."""

    text: Annotated[str, "the answer, verbatim"] = ""
    echo: Annotated[
        Literal["", "prompt", "params", "history"], "answer with what was received: prompt, params or history"
    ] = ""
    chunks: Annotated[int, "cut the answer into so many chunks; an answer without text gets one word each"] = 0
    size: Annotated[int, "characters per chunk"] = 0
    first_ms: Annotated[float, "time to the first token; -1: 150 to 300"] = -1
    delay_ms: Annotated[float, "time between chunks; -1: 20 to 32"] = -1
    empty: Annotated[int, "an empty delta after every n-th chunk"] = 0
    overwrite: Annotated[str, "text of a last delta with overwrite:true"] = ""
    field: Annotated[Literal["text", "content"], "text or content: the key that carries a delta"] = "text"
    full_answer: Annotated[Literal["empty", "full", "only"], "empty, full, or only (nothing is streamed)"] = "full"
    finish: Annotated[int, "statusCode of chat/finish"] = 200
    reason: Annotated[str, "reason of chat/finish; empty: what suits the code"] = ""
    session: Annotated[str, "sessionId in chat/finish; new: a fresh one"] = ""
    title: Annotated[bool, "push session/title/update for a new session"] = True
    steps: Annotated[bool, "push chat/process_step_callback before the text"] = True
    context_usage: Annotated[bool, "push context/usage/sync before the end"] = False
    plan: Annotated[
        str,
        "JSON list of what an obedient model does, one step per turn: {say, think, call, arguments, calls: [{call, "
        "arguments}], flaw, times}. It calls in the format that the prompt asks for and goes on when results came; "
        "{{last_result}} and {{results}} (their number) are filled in. flaw, in the first `times` attempts: fence, "
        "quotes, comma, string, alias, unknown, missing, type, nonce, cut, no_call or prose",
    ] = ""
    think: Annotated[str, "reasoning text, sent before the answer"] = ""
    think_style: Annotated[Literal["push", "fence", "tags"], "push (chat/think), fence or tags"] = "push"
    think_end: Annotated[Literal["done", "end"], "step of the last chat/think: done or end"] = "done"
    ids: Annotated[Literal["int", "string", "none"], "ids of pushes: int, string or none (notifications)"] = "int"
    frame: Annotated[Literal["text", "binary"], "frames of pushes: text or binary"] = "text"
    merge: Annotated[int, "put so many messages into one frame"] = 1
    split: Annotated[str, "cut each message: one number n = every n bytes, a list = at these positions", NUMBERS] = ""
    fragment: Annotated[int, "send each frame as fragments of n bytes"] = 0
    ping: Annotated[bool, "a ping frame before every push"] = False
    duplicate: Annotated[bool, "send every push twice, with the same id"] = False
    usage: Annotated[str, "prompt,completion tokens of the log line; empty: counted", NUMBERS] = ""
    usage_line: Annotated[
        Literal["before", "after", "never"], "when the log has the usage: before or after chat/finish, or never"
    ] = "before"
    usage_late_ms: Annotated[float, "with usage_line=after: how much later"] = 0
    ask_error: Annotated[str, "chat/ask fails with this message (F30)"] = ""
    ask_refused: Annotated[bool, "chat/ask answers success:false"] = False
    ignore_stop: Annotated[bool, "chat/stop is answered, and the turn goes on"] = False
    fault: Annotated[str, "comma list of faults, by number or name"] = ""
    after: Annotated[int, "the fault comes after so many chunks"] = 1
    silence_ms: Annotated[float, "length of F7's silence"] = 3_600_000
    cut_ms: Annotated[float, "F8 cuts the stream after so long"] = 62_000
    cut_above: Annotated[int, "F8 cuts prompts of more characters"] = 200_000
    oversize: Annotated[int, "bytes of F15's message"] = 16_777_216
    tools: Annotated[str, "comma list of tools the agent calls, e.g. read_file,list_dir"] = ""
    tool_args: Annotated[str, "JSON object: parameters of the tools"] = '{"file_path":"/workspace/a.txt"}'
    tool_results: Annotated[str, "JSON list: results of the service's own tools"] = '[{"content":"simulated"}]'
    tool_async: Annotated[bool, "tool/invoke is acknowledged at once, its result comes by tool/invokeResult"] = True
    tool_approval: Annotated[bool, "a tool waits for tool/call/approve"] = True
    tool_timeout_ms: Annotated[float, "how long an approval or a result is waited for"] = 120_000
    tool_shape: Annotated[
        Literal["plain", "named", "nested", "snake", "data", "items"],
        "spelling of tool/call/sync: plain, named, nested (toolCall), snake (tool_call), data (data.toolCall) or items",
    ] = "plain"
    tool_words: Annotated[
        Literal["plugin", "phases"], "status words: plugin (its own), or phases (pending, processing and results)"
    ] = "plugin"
    tool_start: Annotated[
        Literal["pending", "running", "finished"], "state in which a tool is first reported; finished: and only then"
    ] = "pending"
    tool_ids: Annotated[
        Literal["all", "first", "request"], "ids in tool events: all, requestId in the first only, or no sessionId"
    ] = "all"
    tool_card: Annotated[bool, "a tool is announced by a card in the text"] = True
    tool_twice: Annotated[bool, "every tool/call/sync comes twice, as two requests"] = False
    tool_done: Annotated[bool, "tool/invoke carries the result of the service itself"] = False
    tool_echo: Annotated[bool, "what a client says of a tool is pushed to it in turn"] = False
    tool_lower: Annotated[bool, "tool status in lower case"] = False
    tool_forward: Annotated[bool, "a function forced by toolConfig becomes a tool event"] = False
