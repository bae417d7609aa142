"""Refusals of the server itself below `/api/` are problems as Django's are."""

import json

import pytest

from gateway_project.server.bodies import MOST, BoundedBodies


async def refused(path):
    sent = []

    async def receive():
        raise AssertionError("nothing of the body is read")

    async def send(message):
        sent.append(message)

    scope = {"client": ("10.0.0.1", 1), "headers": [(b"content-length", b"%d" % (MOST + 1))], "path": path}
    await BoundedBodies(None)(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])[b"content-type"], sent[1]["body"]


async def test_body_too_large_is_a_problem_below_api():
    status, kind, body = await refused("/api/keys/")
    assert (status, kind) == (413, b"application/problem+json")
    assert json.loads(body)["status"] == 413


@pytest.mark.parametrize("path", ["/admin/", "/apis/", "/login/"])
async def test_people_get_words(path):
    status, kind, body = await refused(path)
    assert (status, kind, body) == (413, b"text/plain; charset=utf-8", b"The body is too large.")
