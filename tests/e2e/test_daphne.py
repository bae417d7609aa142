"""The same gateway under daphne: the tests of everything that the server has a hand in."""

import os

import pytest

from tests.e2e.installation import KEY, Gateway
from tests.e2e.speech import OPENAI, send
from tests.e2e.test_finish_codes import (  # noqa: F401
    test_200_is_the_good_ending,
    test_the_rate_limit_of_the_service_says_when_to_come_back,
)
from tests.e2e.test_hang_up import *  # noqa: F403
from tests.e2e.test_headers import *  # noqa: F403
from tests.e2e.test_manners import *  # noqa: F403
from tests.e2e.test_sdks import *  # noqa: F403
from tests.e2e.test_sessions import test_a_second_turn_goes_on_in_the_session_with_only_the_new_text  # noqa: F401
from tests.e2e.test_text_limits import test_the_usage_of_the_service_is_told  # noqa: F401


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, template):
    """The shared gateway's settings, served by daphne."""
    with Gateway(
        tmp_path_factory.mktemp("daphne"), template, GATEWAY_SERVER="daphne", TRUSTED_PROXIES="10.9.9.9"
    ) as running:
        yield running
    assert running.left_behind == []


def test_a_proxy_that_is_not_named_is_not_believed(gateway):
    headers = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
    answer = send(gateway, "POST", OPENAI.path, key=KEY, body=OPENAI.body("[[sim: text=hello]] x"), headers=headers)
    assert gateway.row(answer.headers["x-request-id"])["client"] == "127.0.0.1"


def test_a_large_body_for_django_is_refused(gateway):
    answer = send(gateway, "POST", "/admin/login/", body=b"a" * (3 << 20))
    assert answer.status == 413


def test_its_loop_tells_the_supervisor_that_it_goes_on(gateway):
    mine, theirs = os.pipe()
    with os.fdopen(mine, "rb", buffering=0) as signs:
        process = gateway.start(1, theirs, GATEWAY_LIFE_FD=str(theirs))
        try:
            os.close(theirs)
            assert b"".join(signs.read(1) for _ in range(4)) == b"1..."
        finally:
            process.kill()
            process.wait()
