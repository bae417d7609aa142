import sys

import pytest


@pytest.fixture
def impatient_threads():
    """They take turns at every few steps, so that what one of them can do amid another's work happens."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
