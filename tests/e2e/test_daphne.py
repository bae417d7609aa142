"""The same gateway under daphne: the tests of everything that the server has a hand in."""

import pytest

from tests.e2e.installation import Gateway
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
    with Gateway(tmp_path_factory.mktemp("daphne"), template, GATEWAY_SERVER="daphne") as running:
        yield running
    assert running.left_behind == []
