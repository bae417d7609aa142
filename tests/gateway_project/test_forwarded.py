"""Whose word on the client's address is taken."""

import pytest

from gateway_project.server.forwarded import Forwarded, TrustedProxies

PROXIES = ["10.0.0.0/8", "::1", "192.0.2.7"]


async def told(trusted, peer, *fields, kind="http"):
    """The client and the scheme that the application sees."""
    scheme = "ws" if kind == "websocket" else "http"
    scope = {"type": kind, "scheme": scheme, "client": peer and [peer, 5], "headers": list(fields)}
    seen = {}

    async def application(scope, _receive, _send):
        seen.update(scope)

    await Forwarded(application, TrustedProxies(trusted))(scope, None, None)
    return (seen["client"] or [None])[0], seen["scheme"]


def chain(text):
    return (b"x-forwarded-for", text.encode())


@pytest.mark.parametrize(
    ("peer", "fields", "client"),
    [
        ("203.0.113.9", [chain("198.51.100.1")], "203.0.113.9"),
        ("10.1.2.3", [chain("198.51.100.1")], "198.51.100.1"),
        ("10.1.2.3", [chain("1.1.1.1, 198.51.100.1")], "198.51.100.1"),
        ("10.1.2.3", [chain("1.1.1.1, 198.51.100.1, 10.9.9.9")], "198.51.100.1"),
        ("10.1.2.3", [chain("1.1.1.1"), chain("198.51.100.1")], "198.51.100.1"),
        ("10.1.2.3", [chain("198.51.100.1:443")], "198.51.100.1"),
        ("10.1.2.3", [chain("[2001:db8::1]:443")], "2001:db8::1"),
        ("::ffff:10.1.2.3", [chain("198.51.100.1")], "198.51.100.1"),
        ("::1", [chain("10.0.0.5")], "10.0.0.5"),
        ("10.1.2.3", [chain('1.1.1.1, evil"><script>')], "10.1.2.3"),
        ("10.1.2.3", [chain("")], "10.1.2.3"),
        ("10.1.2.3", [], "10.1.2.3"),
        (None, [chain("198.51.100.1")], None),
    ],
)
async def test_client_is_told_by_trusted_proxies_alone(peer, fields, client):
    assert (await told(PROXIES, peer, *fields))[0] == client


@pytest.mark.parametrize(
    ("peer", "value", "kind", "scheme"),
    [
        ("10.1.2.3", b"https", "http", "https"),
        ("10.1.2.3", b"https", "websocket", "wss"),
        ("203.0.113.9", b"https", "http", "http"),
        ("10.1.2.3", b"javascript", "http", "http"),
    ],
)
async def test_scheme_is_told_by_trusted_proxies_alone(peer, value, kind, scheme):
    assert (await told(PROXIES, peer, (b"x-forwarded-proto", value), kind=kind))[1] == scheme


async def test_a_star_trusts_everybody():
    assert (await told(["*"], "203.0.113.9", chain("198.51.100.1, 1.1.1.1")))[0] == "198.51.100.1"


async def test_empty_list_of_proxies_trusts_nobody():
    assert not TrustedProxies([])
    assert "10.1.2.3" not in TrustedProxies([])
