"""One request to a consumer, as a server hands it over."""

import asyncio

from accounts.keys.keyring import Caller, KeyRecord
from gateway_project.lib.secrets.key_secret import digest_of, generate

SECRET, PEPPER = generate(), b"pepper"


async def load_key(digest):
    """The one key that there is."""
    if digest == digest_of(SECRET, PEPPER):
        return KeyRecord(Caller(1, "key", "lgw_", digest=bytes.fromhex(digest)))
    return None


class Answer:
    """What the server is handed for one request: a status, headers, and the parts of the body as they came."""

    def __init__(self):
        self.parts = []
        self.has_text = asyncio.Event()
        self.gone = asyncio.Event()
        """To be set by a client that hangs up."""

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.parts.append(message["body"])
            self.has_text.set()


async def post(application, body, path, content_type="application/json", answer=None, more_headers=()):
    """The answer, when it has been sent to its end; `answer` for who wants to look at it before."""
    headers = [(b"authorization", f"Bearer {SECRET}".encode()), (b"content-type", content_type.encode()),
               *more_headers]  # fmt: skip
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    answer = answer or Answer()
    await application(scope, receive_from(messages, answer.gone), answer.send)
    return answer


def receive_from(messages, gone):
    """What the client sends; then it stays and listens until it is gone."""

    async def receive():
        if messages:
            return messages.pop(0)
        await gone.wait()
        return {"type": "http.disconnect"}

    return receive
