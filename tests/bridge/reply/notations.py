"""Calls in the notations of model families, as their chat templates write them: `Bash` with these arguments."""

ARGUMENTS = {"cmd": "ls -l\ncat 'a b'", "count": 2, "all": True, "paths": ["a", "b"], "note": None}
SCHEMA = (
    b'{"type":"object","properties":{"cmd":{"type":"string"},"count":{"type":"integer"},"all":{"type":"boolean"},'
    b'"paths":{"type":"array","items":{"type":"string"}},"note":{"anyOf":[{"type":"string"},{"type":"null"}]}}}'
)
JSON = '{"cmd": "ls -l\\ncat \'a b\'", "count": 2, "all": true, "paths": ["a", "b"], "note": null}'
OBJECT = f'{{"name": "Bash", "arguments": {JSON}}}'


def _parameters(begin, end, glue="\n"):
    written = {"cmd": "ls -l\ncat 'a b'", "count": "2", "all": "true", "paths": '["a", "b"]', "note": "null"}
    return glue.join(f"{begin.format(name)}{value}{end}" for name, value in written.items())


_QWEN_CODER = _parameters("<parameter={}>\n", "\n</parameter>")
_INVOKE = _parameters('<parameter name="{}">', "</parameter>")
_GLM = _parameters("<arg_key>{}</arg_key>\n<arg_value>", "</arg_value>")
_DSML = "".join(
    f'<｜DSML｜parameter name="{name}" string="{"true" if name == "cmd" else "false"}">{value}</｜DSML｜parameter>\n'
    for name, value in (
        *(("cmd", "ls -l\ncat 'a b'"), ("count", "2"), ("all", "true"), ("paths", '["a", "b"]'), ("note", "null")),
    )
)

FORMS = {
    "Hermes": f"<tool_call>\n{OBJECT}\n</tool_call>",
    "Hermes without its end": f"<tool_call>\n{OBJECT}",
    "a JSON fence": f"```json\n{OBJECT}\n```",
    "Qwen3-Coder": f"<tool_call>\n<function=Bash>\n{_QWEN_CODER}\n</function>\n</tool_call>",
    "Qwen3-Coder without the outer tag": f"<function=Bash>\n{_QWEN_CODER}\n</function>\n</tool_call>",
    "GLM 4.5": f"<tool_call>Bash\n{_GLM}\n</tool_call>",
    "GLM 4.7": f"<tool_call>Bash{_GLM.replace(chr(10) + '<', '<')}</tool_call>",
    "Kimi K2": "<|tool_calls_section_begin|><|tool_call_begin|>functions.Bash:0<|tool_call_argument_begin|>"
    f"{JSON}<|tool_call_end|><|tool_calls_section_end|>",
    "Kimi K2 without a section": f"<|tool_call_begin|>Bash:3<|tool_call_argument_begin|>{JSON}<|tool_call_end|>",
    "DeepSeek V3 and R1": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>Bash\n"
    f"```json\n{JSON}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>",
    "DeepSeek V3.1": f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>Bash<｜tool▁sep｜>{JSON}"
    "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "DeepSeek V3.2": f'<｜DSML｜function_calls>\n<｜DSML｜invoke name="Bash">\n{_DSML}</｜DSML｜invoke>\n'
    "</｜DSML｜function_calls>",
    "DeepSeek V4": f'<｜DSML｜tool_calls>\n<｜DSML｜invoke name="Bash">\n{JSON}\n</｜DSML｜invoke>\n'
    "</｜DSML｜tool_calls>",
    "MiniMax M2": f'<minimax:tool_call>\n<invoke name="Bash">\n{_INVOKE}\n</invoke>\n</minimax:tool_call>',
    "function_calls": f'<function_calls>\n<invoke name="Bash">\n{_INVOKE}\n</invoke>\n</function_calls>',
    "invoke": f'<invoke name="Bash">\n{_INVOKE}\n</invoke>',
    "tool_calls": f"<tool_calls>\n{OBJECT}\n</tool_calls>",
}
"""How each of them is written."""
