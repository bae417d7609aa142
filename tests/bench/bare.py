"""The yardstick: a proxy without features, written for speed: FastAPI, uvicorn with uvloop, websockets, msgspec.

No keys, limits, rows, metrics, sessions or tools, and no check of what a request says.
"""

import asyncio
import os
import time
import uuid
from contextlib import asynccontextmanager

import websockets
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from msgspec.json import decode, encode

ASK = {"chatTask": "FREE_INPUT", "sessionType": "chat", "mode": "chat", "stream": True, "source": 1, "isReply": False,
       "chatContext": None, "extra": None}  # fmt: skip


class Lingma:
    """One WebSocket to the service, which all requests share; pushes are told apart by their requestId."""

    def __init__(self, url):
        self.url = url
        self.queues = {}
        self.answers = {}

    async def connect(self):
        self.socket = await websockets.connect(self.url, max_size=None, compression=None)
        self.reader = asyncio.create_task(self.read())
        await self.call(1, "initialize", {"processId": None, "capabilities": {}, "rootUri": "file:///workspace"})
        if (await self.call(2, "auth/status", {}))["status"] != 2:
            raise RuntimeError("Lingma is not logged in")

    async def close(self):
        self.reader.cancel()
        await self.socket.close()

    async def send(self, **message):
        body = encode({"jsonrpc": "2.0", **message})
        await self.socket.send(b"Content-Length: %d\r\n\r\n%b" % (len(body), body), text=True)

    async def call(self, number, method, params):
        answer = self.answers[number] = asyncio.get_running_loop().create_future()
        await self.send(id=number, method=method, params=params)
        return await answer

    async def read(self):
        while True:
            frame = await self.socket.recv(decode=False)
            message = decode(frame[frame.index(b"\r\n\r\n") + 4 :])
            if "method" not in message:
                if answer := self.answers.pop(message["id"], None):
                    answer.set_result(message.get("result"))
                continue
            if message.get("id") is not None:
                await self.send(id=message["id"], result=None)
            if queue := self.queues.get(message["params"].get("requestId")):
                queue.put_nowait(message)

    async def chat(self, text):
        request_id = uuid.uuid4().hex
        queue = self.queues[request_id] = asyncio.Queue()
        try:
            await self.send(method="chat/ask", params={
                "requestId": request_id, "sessionId": uuid.uuid4().hex, "questionText": text, **ASK
            })  # fmt: skip
            while (message := await queue.get())["method"] != "chat/finish":
                if message["method"] == "chat/answer":
                    yield message["params"]["text"]
            if message["params"]["statusCode"] != 200:
                raise HTTPException(502, message["params"].get("reason"))
        finally:
            del self.queues[request_id]


lingma = Lingma(os.environ.get("LINGMA_URL", "ws://127.0.0.1:37010"))


@asynccontextmanager
async def lifespan(_app):
    await lingma.connect()
    yield
    await lingma.close()


app = FastAPI(lifespan=lifespan)


def flatten(messages):
    parts = []
    for message in messages:
        text = message["content"]
        if isinstance(text, list):
            text = "".join(part.get("text", "") for part in text)
        parts.append(f"{message['role']}: {text or ''}")
    return "\n\n".join(parts)


async def events(body):
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "created": int(time.time()),
            "model": body["model"]}  # fmt: skip

    def event(delta, finish_reason=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return b"data: %b\n\n" % encode({**head, "choices": [choice]})

    yield event({"role": "assistant", "content": ""})
    async for text in lingma.chat(flatten(body["messages"])):
        yield event({"content": text})
    yield event({}, "stop") + b"data: [DONE]\n\n"


@app.post("/v1/chat/completions")
async def chat_completions(request: Request):
    body = decode(await request.body())
    if body.get("stream"):
        return StreamingResponse(events(body), media_type="text/event-stream")
    text = "".join([part async for part in lingma.chat(flatten(body["messages"]))])
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    answer = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion", "created": int(time.time()),
              "model": body["model"], "choices": [choice],
              "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}  # fmt: skip
    return Response(encode(answer), media_type="application/json")


@app.get("/healthz")
async def healthz():
    return {"status": "ok"}
