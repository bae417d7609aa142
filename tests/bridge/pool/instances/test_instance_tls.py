"""Services behind TLS: reached only where their certificate is vouched for."""

import pytest

from bridge.lingma import channel
from bridge.lingma.dialects.base import Ask
from tests.bridge.images.web import certificates
from tests.bridge.lingma.conftest import ended
from tests.bridge.lingma.service import Service, answer, finish
from tests.bridge.pools import attached, in_state, running


async def reply(peer, params):
    await peer.push(answer("x" * 100_000, params["requestId"]), finish(params["requestId"]))


@pytest.fixture
async def secure(tmp_path, monkeypatch):
    """A service, and the way to believe it."""
    context, authority = certificates(tmp_path, "localhost")

    def believe():
        monkeypatch.setenv("SSL_CERT_FILE", authority)
        channel._trust.cache_clear()

    async with Service(on_ask=reply, tls=context) as service:
        yield service, believe
    channel._trust.cache_clear()


async def test_tls_service_is_verified_by_own_authority(secure):
    service, believe = secure
    believe()
    async with running(attached(service)) as pool:
        turn = pool.instances[0].ask(Ask("r1", "s1", "Hello " * 100_000, "org_auto"))
        assert "".join(await ended(turn)) == "x" * 100_000
        await service.drop()
        await in_state(pool, "starting")
        await in_state(pool, "ready")
    assert service.asks()[0]["questionText"] == "Hello " * 100_000


async def test_unvouched_certificate_is_refused_and_reported(secure):
    service, _ = secure
    async with running(attached(service), ready=False) as pool:
        await in_state(pool, "backoff")
        assert "no Lingma service answers there ([SSL: CERTIFICATE_VERIFY_FAILED]" in pool.statuses()[0].last_error
    assert service.methods() == []


async def test_a_certificate_of_another_name_is_refused(secure):
    service, believe = secure
    believe()
    service.url = service.url.replace("localhost", "127.0.0.1")
    async with running(attached(service), ready=False) as pool:
        await in_state(pool, "backoff")
        assert "CERTIFICATE_VERIFY_FAILED" in pool.statuses()[0].last_error
