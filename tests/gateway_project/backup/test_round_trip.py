"""A backup of a whole installation, restored elsewhere."""

import json
import re

import pytest
from dotenv import dotenv_values

from tests.e2e.installation import django
from tests.gateway_project.backup.installations import SEQUENCES, differences, everything, refusal, run, tables

LOOK = """
import json
from django.conf import settings
from django.contrib.sessions.models import Session
from accounts.login.at_rest import decrypt
from accounts.models import ApiKey, AuditEntry, UsageContent
from allauth.mfa.models import Authenticator
from bridge.logins.bundle import Bundle
from bridge.models import Login
from gateway_project.lib.secrets.key_secret import digest_of

print(json.dumps({
    "key": ApiKey.objects.get(digest=digest_of("sk-an-old-key-of-a-client", settings.KEY_PEPPER)).name,
    "login": Bundle.unpacked(Login.objects.get(label="main").bundle.read()).files["cache/user"].decode(),
    "content": UsageContent.objects.get(pk="req_content").content.read().decode(),
    "factor": decrypt(Authenticator.objects.get().data["secret"]),
    "session": Session.objects.get().get_decoded(),
    "restored": list(AuditEntry.objects.filter(action="restored").values_list("actor", "object_type")),
}))
"""


@pytest.fixture(scope="module")
def restored(tmp_path_factory, backup):
    data_dir = tmp_path_factory.mktemp("restored") / "data"
    return data_dir, run(data_dir, "restore", backup[0], "--write-env", data_dir.parent / "env")


def test_every_row_is_there_again(filled, restored):
    before, after = tables(filled), tables(restored[0])
    assert differences(before, after) == set()
    assert len(after["accounts_usage"]) >= 1500


def test_ids_that_were_given_are_not_given_again(filled, restored):
    before, after = (dict(tables(each)[SEQUENCES]) for each in (filled, restored[0]))
    logs = {"accounts_auditentry", "django_migrations"}
    assert {name: after[name] for name in before.keys() - logs} == {name: before[name] for name in before.keys() - logs}
    assert before["accounts_apikey"] > max(row[0] for row in tables(filled)["accounts_apikey"])


def test_keys_sessions_and_secrets_are_good(restored):
    assert json.loads(django(restored[0], LOOK)) == {
        "key": "imported", "login": "user of main", "content": "内容", "factor": "JBSWY3DPEHPK3PXP",
        "session": {"what": "signed"}, "restored": [["restore", "backup"]],
    }  # fmt: skip


def test_login_of_a_work_directory_comes_along(restored):
    files = {name: data for name, data in everything(restored[0]).items() if name.startswith("instances/")}
    assert files == {"instances/w1-i1/cache/user": b"user of w1-i1", "instances/w1-i1/cache/id": b"machine of w1-i1"}


def test_usage_adds_up_afterwards(restored):
    assert run(restored[0], "reconcile_usage").stdout.startswith("The ledger adds up")


def test_settings_are_written_where_wanted(restored):
    path = restored[0].parent / "env"
    values = dotenv_values(path)
    assert (values["TOOL_APPROVAL"], values["ADMIN_TOKEN"]) == ("allow:read_file", "it's $a #token")
    assert not {"DATA_DIR", "BACKUP_PASSPHRASE", "SECRET_KEYS"} & values.keys()
    assert path.stat().st_mode & 0o777 == 0o600


def test_each_command_says_one_line(backup, restored):
    assert re.fullmatch(r"Backed up [\d,]+ rows of \d+ tables, the keys of secrets, 1 login of.*\n", backup[1])
    assert re.fullmatch(r"Restored [\d,]+ rows of \d+ tables and 2 files, of version .*\n", restored[1].stdout)


def test_backup_is_readable_by_its_user_alone(backup, restored):
    assert backup[0].stat().st_mode & 0o777 == 0o600
    assert [path for path in restored[0].rglob("*") if path.is_file() and path.stat().st_mode & 0o077] == []
    assert [path.name for path in backup[0].parent.iterdir()] == [backup[0].name]


def test_backup_has_no_word_in_clear(filled, backup):
    data = backup[0].read_bytes()
    words = [
        "ann@example.com",
        "user of main",
        *((filled / "secrets" / name).read_text() for name in ("at_rest", "keys")),
    ]
    assert [word for word in words if word.encode() in data] == []


def test_database_in_use_is_left_alone(restored, backup):
    before = everything(restored[0])
    assert refusal(restored[0], "restore", backup[0]).startswith("This database is in use already; --replace")
    assert everything(restored[0]) == before


def test_other_keys_here_encrypt_what_comes(tmp_path, backup):
    data_dir = tmp_path / "data"
    ours = "a key of the new machine alone"
    run(data_dir, "restore", backup[0], SECRET_KEYS=ours)
    (data_dir / "secrets" / "at_rest").write_text("what was generated is of no use any more")
    assert json.loads(django(data_dir, LOOK, SECRET_KEYS=ours))["content"] == "内容"
