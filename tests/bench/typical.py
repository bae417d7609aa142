"""The yardstick: the gateway most people would write with FastAPI, uvicorn, websockets and json."""

import asyncio
import json
import os
import time
import uuid
from contextlib import asynccontextmanager
from typing import Any

import websockets
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel


class ChatMessage(BaseModel):
    role: str
    content: str | list[dict[str, Any]] | None = None


class ChatCompletionRequest(BaseModel):
    model: str
    messages: list[ChatMessage]
    stream: bool = False
    temperature: float | None = None
    max_tokens: int | None = None


class Lingma:
    """One WebSocket to the service; pushes are told apart by their requestId."""

    def __init__(self, url: str):
        self.url = url
        self.next_id = 0
        self.pending: dict[int, asyncio.Future] = {}
        self.queues: dict[str, asyncio.Queue] = {}

    async def connect(self):
        self.socket = await websockets.connect(self.url, max_size=None)
        self.reader = asyncio.create_task(self.read())
        await self.call("initialize", {"processId": None, "capabilities": {}, "rootUri": "file:///workspace"})
        status = await self.call("auth/status", {})
        if status["status"] != 2:
            raise RuntimeError("Lingma is not logged in")

    async def close(self):
        self.reader.cancel()
        await self.socket.close()

    async def send(self, message: dict):
        body = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False)
        await self.socket.send(f"Content-Length: {len(body.encode())}\r\n\r\n{body}")

    async def call(self, method: str, params: dict):
        self.next_id += 1
        future = self.pending[self.next_id] = asyncio.get_running_loop().create_future()
        await self.send({"id": self.next_id, "method": method, "params": params})
        return await future

    async def read(self):
        async for frame in self.socket:
            if isinstance(frame, bytes):
                frame = frame.decode()
            message = json.loads(frame.partition("\r\n\r\n")[2])
            if "method" not in message:
                future = self.pending.pop(message["id"], None)
                if future is not None:
                    future.set_result(message.get("result"))
                continue
            if message.get("id") is not None:
                await self.send({"id": message["id"], "result": None})
            queue = self.queues.get(message["params"].get("requestId"))
            if queue is not None:
                queue.put_nowait(message)

    async def chat(self, text: str):
        request_id = str(uuid.uuid4())
        queue = self.queues[request_id] = asyncio.Queue()
        params = {"requestId": request_id, "sessionId": str(uuid.uuid4()), "questionText": text,
                  "chatTask": "FREE_INPUT", "sessionType": "chat", "mode": "chat", "stream": True,
                  "source": 1, "isReply": False, "chatContext": None, "extra": None}  # fmt: skip
        try:
            await self.send({"method": "chat/ask", "params": params})
            while True:
                message = await queue.get()
                if message["method"] == "chat/answer":
                    yield message["params"]["text"]
                elif message["method"] == "chat/finish":
                    if message["params"]["statusCode"] != 200:
                        raise HTTPException(502, message["params"].get("reason"))
                    return
        finally:
            self.queues.pop(request_id, None)


lingma = Lingma(os.environ.get("LINGMA_URL", "ws://127.0.0.1:37010"))


@asynccontextmanager
async def lifespan(_app: FastAPI):
    await lingma.connect()
    yield
    await lingma.close()


app = FastAPI(lifespan=lifespan)


def flatten(messages: list[ChatMessage]) -> str:
    parts = []
    for message in messages:
        text = message.content
        if isinstance(text, list):
            text = "".join(part.get("text", "") for part in text)
        parts.append(f"{message.role}: {text or ''}")
    return "\n\n".join(parts)


async def events(body: ChatCompletionRequest):
    chat_id, created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())

    def event(delta: dict, finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        chunk = {"id": chat_id, "object": "chat.completion.chunk", "created": created, "model": body.model,
                 "choices": [choice]}  # fmt: skip
        return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"

    yield event({"role": "assistant", "content": ""})
    async for text in lingma.chat(flatten(body.messages)):
        yield event({"content": text})
    yield event({}, "stop")
    yield "data: [DONE]\n\n"


@app.post("/v1/chat/completions")
async def chat_completions(body: ChatCompletionRequest):
    if body.stream:
        return StreamingResponse(events(body), media_type="text/event-stream")
    text = "".join([part async for part in lingma.chat(flatten(body.messages))])
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion", "created": int(time.time()),
            "model": body.model, "choices": [choice],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}  # fmt: skip


@app.get("/healthz")
async def healthz():
    return {"status": "ok"}
