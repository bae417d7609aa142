"""Large files for Django: it is asked first, they are written to the disk as they come, and it gets their path.

Django itself keeps a whole body before it looks at anything, so all other bodies are small (`bodies`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from bridge.http.body import LONGEST_LENGTH, HungUp, announces_more
from gateway_project.lib.pages.uploads import KEY, Asked, NotUploaded, Trouble, Upload
from gateway_project.server.form_data import BadForm, Begins, Ends, Event, FormData, boundary_of
from gateway_project.server.spool import Spool

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Allow = Callable[[dict[str, str]], Awaitable[None]]

UPLOADS: Final = {"/admin/bridge/version/upload/": True, "/api/versions/": False}
"""The paths that take files; whether it is that of a page."""
UPLOAD_SEC: Final = 3600.0
LONGEST_VALUE: Final = 4 << 10
MOST_FIELDS: Final = 16
AROUND_FILE: Final = 64 << 10
"""Bytes of a form that are no file."""
OF_THE_BODY: Final = frozenset(
    {b"content-length", b"content-type", b"transfer-encoding", b"content-encoding", b"expect"}
)
NO_FILES: Final = (b"application/json", b"application/x-www-form-urlencoded", b"text/")


class _Refused(Exception):
    """Django does not want the body: its own answer goes to the client."""

    def __init__(self, answer: list[dict[str, Any]]) -> None:
        super().__init__()
        self.answer = answer


class Uploads:
    """Django; a POST to one of these paths may bring a file. `forms`: whether the path is that of a page."""

    def __init__(self, django: Application, directory: Path, most: int, forms: Mapping[str, bool]) -> None:
        self._django = django
        self._directory = directory
        self._most = most
        self._forms = forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        if scope["method"] != "POST" or scope["path"] not in self._forms:
            await self._django(scope, receive, send)
            return
        # A page has its token within its body, which is not read yet: there only rights are asked for.
        is_form = self._forms[scope["path"]]
        answer = _Answer(send)
        try:
            await self._ask(scope, "GET" if is_form else "POST", {})
            await self._serve(scope, receive, answer, is_form)
        except _Refused as refused:
            for message in refused.answer:
                await answer.send(message)
        except HungUp:
            return

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer, is_form: bool) -> None:
        async with AsyncExitStack() as stack:
            found: Upload | NotUploaded
            try:
                async with asyncio.timeout(UPLOAD_SEC):
                    found = await self._take(scope, receive, stack, is_form)
            except NotUploaded as trouble:
                found = trouble
            except TimeoutError:
                found = NotUploaded(Trouble.TOO_SLOW)
            if isinstance(found, Upload):
                answer.is_last = False
                await self._django(*_request(scope, "POST", found, found.fields), answer.send)
            else:
                # As a page it is shown once more, with what is wrong: the token may not have come.
                await self._django(*_request(scope, "GET" if is_form else "POST", found, {}), answer.send)

    async def _take(self, scope: Scope, receive: Receive, stack: AsyncExitStack, is_form: bool) -> Upload:
        """Raise NotUploaded, _Refused or HungUp."""
        headers = dict(scope["headers"])
        content_type = headers.get(b"content-type", b"")
        try:
            boundary = boundary_of(content_type)
        except BadForm:
            raise NotUploaded(Trouble.BAD_FORM) from None
        if boundary is None and (is_form or content_type.strip().lower().startswith(NO_FILES)):
            raise NotUploaded(Trouble.WRONG_KIND)
        if not self._most:
            raise NotUploaded(Trouble.OFF)
        if announces_more(headers, self._most + AROUND_FILE):
            raise NotUploaded(Trouble.TOO_LARGE, mib=self._most >> 20)
        spool = await stack.enter_async_context(Spool(self._directory, self._most, _length(headers)))

        async def allow(fields: dict[str, str]) -> None:
            if is_form:
                await self._ask(scope, "POST", fields)

        if boundary is None:
            fields = await _read_alone(receive, spool)
        else:
            fields = await _read_form(receive, boundary, spool, allow)
        path, sha256 = await spool.finish()
        return Upload(path, sha256, fields)

    async def _ask(self, scope: Scope, method: str, fields: dict[str, str]) -> None:
        """Raise _Refused unless Django wants the body."""
        answer: list[dict[str, Any]] = []

        async def keep(message: dict[str, Any]) -> None:
            answer.append(message)

        await self._django(*_request(scope, method, Asked(), fields), keep)
        if not answer or answer[0]["status"] != 204:
            raise _Refused(answer)


def _length(headers: Mapping[bytes, bytes]) -> int:
    announced = headers.get(b"content-length", b"").lstrip(b"0")
    return int(announced) if announced.isdigit() and len(announced) <= LONGEST_LENGTH else 0


def _request(
    scope: Scope, method: str, found: Upload | NotUploaded | Asked, fields: dict[str, str]
) -> tuple[Scope, Receive]:
    """The request as Django gets it: with the fields of its body, and what came of the file in its scope."""
    headers = [(name, value) for name, value in scope["headers"] if name not in OF_THE_BODY]
    body = urlencode(fields).encode()
    if body:
        headers += [(b"content-type", b"application/x-www-form-urlencoded"), (b"content-length", b"%d" % len(body))]
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        # Never a hang-up: what a file is for is done to its end. Django stops to listen when it has answered.
        await asyncio.Event().wait()
        raise HungUp

    return {**scope, "method": method, "headers": headers, KEY: found}, receive


class _Answer:
    """To the client. What refuses a body is the last on its connection: the rest of it still comes."""

    def __init__(self, send: Send) -> None:
        self.is_last = True
        self._send = send

    async def send(self, message: dict[str, Any]) -> None:
        if self.is_last and message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
        await self._send(message)


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    """A piece of the body, and whether more follows. Raise HungUp."""
    message = await receive()
    if message["type"] != "http.request":
        raise HungUp
    return message.get("body", b""), message.get("more_body", False)


async def _read_alone(receive: Receive, spool: Spool) -> dict[str, str]:
    more = True
    while more:
        data, more = await _piece(receive)
        await spool.write(data)
    return {}


async def _read_form(receive: Receive, boundary: bytes, spool: Spool, allow: Allow) -> dict[str, str]:
    """The fields; the file is written. Raise NotUploaded, or what `allow` raises, which is asked before the file."""
    form, taken, size, more = FormData(boundary), _Taken(spool, allow), 0, True
    while more:
        data, more = await _piece(receive)
        try:
            events = form.feed(data)
        except BadForm:
            raise NotUploaded(Trouble.BAD_FORM) from None
        for event in events:
            await taken.take(event)
        size += len(data)
        if size - spool.size > AROUND_FILE:
            raise NotUploaded(Trouble.BAD_FORM)
    if not form.is_done:
        raise NotUploaded(Trouble.BAD_FORM)
    return taken.fields


class _Taken:
    """The parts of a form: fields are kept, the file goes to the disk."""

    def __init__(self, spool: Spool, allow: Allow) -> None:
        self.fields: dict[str, str] = {}
        self._spool, self._allow = spool, allow
        self._part = Begins("", is_file=False)
        self._value = bytearray()
        self._has_file = False

    async def take(self, event: Event) -> None:
        """Raise NotUploaded, or what `allow` raises."""
        match event:
            case Begins(is_file=True):
                if self._has_file:
                    raise NotUploaded(Trouble.BAD_FORM)
                self._part, self._has_file = event, True
                await self._allow(self.fields)
            case Begins():
                self._part = event
                self._value.clear()
            case Ends():
                if not self._part.is_file:
                    self.fields[self._part.name] = self._value.decode("utf-8", "replace")
            case data if self._part.is_file:
                await self._spool.write(data)
            case data:
                self._value += data
        if len(self._value) > LONGEST_VALUE or len(self.fields) > MOST_FIELDS:
            raise NotUploaded(Trouble.BAD_FORM)
