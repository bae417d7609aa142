"""An installation with something in every place that a backup has to look at."""

import shutil

import pytest

from tests.directories import copy, made_once
from tests.e2e.installation import django
from tests.gateway_project.backup.installations import run

FILL = """
from pathlib import Path
from datetime import timedelta
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from allauth.mfa.models import Authenticator
from django.core.management import call_command
from accounts.login.at_rest import encrypt
from accounts.models import AlertChannel, ApiKey, Usage, UsageContent
from gateway_project.lib.secrets.secrets_at_rest import Secret

call_command("seed_demo", rows=1500, verbosity=0)
call_command("lingma_login", "main", bundle=Path("BUNDLE"))
ann = get_user_model().objects.create_superuser("ann", "ann@example.com", "correct-horse-battery")
session = SessionStore(); session["what"] = "signed"; session.create()
Authenticator.objects.create(user=ann, type="totp", data={"secret": encrypt("JBSWY3DPEHPK3PXP")})
key = ApiKey(name="imported"); key.adopt("sk-an-old-key-of-a-client", settings.KEY_PEPPER); key.save()
gone = ApiKey(name="gone"); gone.adopt("sk-a-key-that-was-deleted", settings.KEY_PEPPER); gone.save(); gone.delete()
UsageContent.objects.create(
    request_id="req_content", api_key=key, started_at=timezone.now(), content=Secret.of("内容".encode())
)
"""


def fill(data_dir):
    login = data_dir / "bundle"
    write_login(login, "main")
    django(data_dir, FILL.replace("BUNDLE", str(login)))
    shutil.rmtree(login)
    write_login(data_dir / "instances" / "w1-i1" / "cache", "w1-i1")
    (data_dir / "instances" / "w1-i1" / "cache" / "db").mkdir()
    (data_dir / "instances" / "w1-i1" / "cache" / "db" / "sessions").write_text("not part of a login")


def write_login(folder, name):
    folder.mkdir(parents=True)
    (folder / "user").write_text(f"user of {name}")
    (folder / "id").write_text(f"machine of {name}")


@pytest.fixture(scope="session")
def filled(tmp_path_factory, migrated):
    """Its data directory. Only to be read."""
    return made_once(tmp_path_factory, "filled", lambda directory: fill(copy(migrated, directory)))


@pytest.fixture(scope="session")
def backup(tmp_path_factory, filled):
    """A backup of it, and what the command said."""
    path = tmp_path_factory.mktemp("backups") / "gateway.backup"
    return path, run(filled, "backup", path, TOOL_APPROVAL="allow:read_file", ADMIN_TOKEN="it's $a #token").stdout
