"""A log-in that is run and followed at a terminal, where nobody else looks after it."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from bridge.fleet.attempts import LOST_AFTER
from bridge.lingma.process.process import lock_of
from bridge.models import Login, LoginAttempt
from bridge.status.attempts import AttemptReason, AttemptState
from bridge.status.logins import LoginKind
from tests.bridge.logins.files import write_login

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def log_in(tmp_path, redis_server, settings):
    """`log_in()`: by a browser, for a login that is there."""
    settings.DATA_DIR, settings.REDIS_URL = tmp_path, redis_server
    call_command("lingma_login", "main", "--bundle", str(write_login(tmp_path / "files")), stdout=StringIO())
    return lambda: call_command("lingma_login", "main", "--browser", stdout=StringIO(), stderr=StringIO())


def test_attempt_that_cannot_run_is_not_waited_for(log_in, tmp_path):
    """What an older one has left cannot be removed."""
    left = tmp_path / "logins" / "99"
    left.mkdir(parents=True)
    lock_of(left).mkdir()
    with pytest.raises(CommandError, match=r"main: DATA_DIR/logins cannot be used: .*99\.lock"):
        log_in()
    assert LoginAttempt.objects.get().state == AttemptState.CANCELLED


def test_attempt_of_an_ended_process_is_ended(log_in):
    """There may be no worker that notices it."""
    then = timezone.now() - LOST_AFTER - timedelta(seconds=1)
    LoginAttempt.objects.create(
        login=Login.objects.get(), way=LoginKind.BROWSER, reason=AttemptReason.COMMAND, state=AttemptState.STARTING,
        generation=1, begun_at=then, seen_at=then,
    )  # fmt: skip
    with pytest.raises(CommandError, match="ended"):
        log_in()
    assert LoginAttempt.objects.get().state == AttemptState.FAILED
