"""Transcripts: what each format says, byte by byte."""

import pytest

from tests.bridge.wire.turns import GOLDEN


@pytest.fixture
def assert_golden(request):
    """Hold bytes against a file below `tests/golden`; with `--update-golden` they become the file."""

    def same(path, told):
        file = GOLDEN / path
        if request.config.getoption("--update-golden"):
            file.write_bytes(told)
        assert told == file.read_bytes()

    return same
