"""A rolling upgrade: code of an earlier day serves and files usage on a database that this code has migrated."""

import re
import shutil
import signal
import subprocess
from contextlib import closing
from sqlite3 import connect

import pytest

from tests.e2e.formats import ANTHROPIC, OPENAI, send
from tests.e2e.installation import until
from tests.gateway_project.gateway import ROOT, Gateway

OLDER = "7880e7be"
"""Version 0.1.0. With each release this becomes the one before: nobody skips one."""
KEY = "lgw_a_key_that_both_versions_know"
pytestmark = pytest.mark.e2e


def archived(commit):
    """What git gives of a commit; None where the history is not there, as in a shallow clone."""
    if not shutil.which("git"):
        return None
    done = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False, timeout=60)
    return done.stdout if done.returncode == 0 else None


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """The folder of the code of then, and a data directory that the code of now has made."""
    if (packed := archived(OLDER)) is None:
        pytest.skip(f"the history does not reach back to {OLDER}")
    code, data = tmp_path_factory.mktemp("older"), tmp_path_factory.mktemp("data")
    subprocess.run(["tar", "--extract", "--directory", code], input=packed, check=True, timeout=60)
    with Gateway(data, programs=["prepare"], DATABASE_URL="", API_KEYS=KEY) as preparing:
        assert preparing.ended() == (0, "")
    return code, data


def rows(data):
    """Status and tokens of what is filed, by endpoint."""
    with closing(connect(f"file:{data}/gateway.sqlite3?mode=ro", uri=True)) as database:
        found = database.execute("SELECT request_id, status, prompt_tokens FROM accounts_usage").fetchall()
    return {request: (status, tokens) for request, status, tokens in found}


def test_older_code_serves_and_files_on_newer_tables(older):
    code, data = older
    # Of that code alone: nothing of this one has been loaded for it.
    with Gateway(data, cwd=code, wrapper=["env"], DATABASE_URL="", API_KEYS=KEY) as gateway:
        gateway.complete()
        asked = {}
        for wire in (OPENAI, ANTHROPIC):
            for stream in (False, True):
                body = wire.body("[[sim: text=hello]] x", stream=stream)
                answer = send(gateway, "POST", wire.path, key=KEY, body=body)
                assert (answer.status, b"hello" in answer.body) == (200, True)
                asked[answer.headers["x-request-id"]] = wire
        filed = until(lambda: (found := rows(data)).keys() >= asked.keys() and found, 90)
        assert [filed[each][0] for each in asked] == ["ok"] * len(asked)
        assert min(filed[each][1] for each in asked) > 0
        refused = send(gateway, "POST", OPENAI.path, key="lgw_a_key_that_nobody_has", body=OPENAI.body("x"))
        assert refused.status == 401
        gateway.process.send_signal(signal.SIGTERM)
        code_of_end, errors = gateway.ended()
        assert (code_of_end, errors) == (0, "")
    said = "\n".join(gateway.lines)
    # A task that this version has scheduled and that one does not know is dropped, and said.
    assert not re.search(r"OperationalError|IntegrityError|ProgrammingError|DataError|FieldError", said)
