"""The reply of the simulated model when no script sets one."""

from __future__ import annotations

import re

SHOWN = 90
LABEL = re.compile(r"(?:^|\n)\s*(?:\[user(?: \w+)?\]|user:|human:|用户[:：])\s*", re.IGNORECASE)
OTHER_SPEAKER = re.compile(r"\n\s*(?:\[\w+(?: \w+)?\]|assistant:|助手[:：])\s*", re.IGNORECASE)

ENGLISH = (
    "This is a simulated answer: no language model was asked. You wrote “{question}”, and it reached the stand-in "
    "for {model} just as it would reach the real service. {turns} "
    "Everything around the text is real, though: the stream, the timing, the sessions and the token counts. "
    "Point LINGMA_BIN at the Lingma executable to hear from the model itself."
)
CHINESE = (
    "这是模拟的回答，没有调用任何大模型。你写的是“{question}”，它已经送到 {model} 的替身，和送到真实服务时完全一样。"
    "{turns}除了文字内容，其余都是真的：流式输出、节奏、会话和用量。"
    "把 LINGMA_BIN 指向 Lingma 可执行文件，就能得到真正的回答。"
)


def question_of(prompt: str) -> str:
    """The last message of a user in a flattened prompt, on one line and short enough to quote."""
    # Only the end of the prompt: splitting a conversation of megabytes for 90 characters would be slow.
    last = LABEL.split(prompt[-4000:])[-1]
    line = " ".join(OTHER_SPEAKER.split(last)[0].split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN].rstrip()}…"


def answer(prompt: str, model: str, turn: int, images: int = 0) -> str:
    """`turn` counts the turns of the session, this one included; `images` those that came with the question."""
    question = question_of(prompt)
    # One Chinese character is enough: code and names in a Chinese question are Latin.
    if re.search("[一-鿿]", question):
        seen = f"随附 {images} 张图片。" if images else ""
        return CHINESE.format(question=question, model=model, turns=f"这是本次会话的第 {turn} 轮。{seen}")
    seen = f" {images} image{'s' if images > 1 else ''} came along." if images else ""
    turns = "This is the first turn of our session." if turn == 1 else f"This is turn {turn} of our session."
    return ENGLISH.format(question=question, model=model, turns=turns + seen)
