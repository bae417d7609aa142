"""The same gateway under daphne: the tests of everything that the server has a hand in."""

import os

import pytest

from tests.e2e.installation import KEY, Gateway
from tests.e2e.speech import OPENAI, send
from tests.e2e.test_finish_codes import (  # noqa: F401
    test_200_is_the_good_ending,
    test_service_rate_limit_has_retry_after,
)
from tests.e2e.test_hang_up import *  # noqa: F403
from tests.e2e.test_headers import *  # noqa: F403
from tests.e2e.test_manners import *  # noqa: F403
from tests.e2e.test_sdks import *  # noqa: F403
from tests.e2e.test_sessions import test_second_turn_sends_only_the_new_text  # noqa: F401
from tests.e2e.test_text_limits import test_service_usage_is_reported  # noqa: F401


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, template):
    """The shared gateway's settings, served by daphne."""
    with Gateway(
        tmp_path_factory.mktemp("daphne"), template, GATEWAY_SERVER="daphne", TRUSTED_PROXIES="10.9.9.9"
    ) as running:
        yield running
    assert running.left_behind == []


def test_unnamed_proxy_is_not_believed(gateway):
    headers = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
    answer = send(gateway, "POST", OPENAI.path, key=KEY, body=OPENAI.body("[[sim: text=hello]] x"), headers=headers)
    assert gateway.row(answer.headers["x-request-id"])["client"] == "127.0.0.1"


def test_a_large_body_for_django_is_refused(gateway):
    answer = send(gateway, "POST", "/admin/login/", body=b"a" * (3 << 20))
    assert answer.status == 413


def test_loop_gives_signs_of_life(gateway):
    mine, theirs = os.pipe()
    with os.fdopen(mine, "rb", buffering=0) as signs:
        process = gateway.start(1, theirs, GATEWAY_LIFE_FD=str(theirs))
        try:
            os.close(theirs)
            assert b"".join(signs.read(1) for _ in range(4)) == b"1..."
        finally:
            process.kill()
            process.wait()
