"""What browsers are told, where every page may call."""

import pytest

from bridge.http.cors import Cors

ANY = Cors(["*"])


@pytest.mark.parametrize("origin", [b"https://app.example.com", b"null"])
def test_star_allows_all_and_caches_need_no_vary(origin):
    headers = dict(ANY.headers({b"origin": origin}))
    assert headers[b"access-control-allow-origin"] == b"*"
    assert b"vary" not in headers
    preflight = dict(ANY.preflight({b"origin": origin, b"access-control-request-method": b"POST"}))
    assert preflight[b"access-control-allow-origin"] == b"*"
    assert not [name for name in {**headers, **preflight} if b"credentials" in name]


def test_request_without_an_origin_is_no_page():
    assert ANY.headers({}) == []
    assert ANY.preflight({b"access-control-request-method": b"POST"}) is None
