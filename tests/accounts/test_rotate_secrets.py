"""`rotate_secrets`, over a real table."""

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import AuditEntry, UsageContent
from gateway_project.lib.secrets import secret_rotation
from gateway_project.lib.secrets.secrets_at_rest import Secret, SecretUnreadableError
from tests.accounts.roles.people import make_key

pytestmark = pytest.mark.django_db
OLD, NEW, LOST = ("a key that is old enough", "a key that is quite new", "a key that nobody has")


@pytest.fixture
def stored(settings):
    """Store a secret for each of these names under a key."""
    owner = make_key("talker")

    def stored(key, *names):
        settings.SECRET_KEYS = [key]
        for name in names:
            UsageContent.objects.create(
                request_id=name, api_key=owner, started_at=timezone.now(), content=Secret.of(name.encode())
            )

    return stored


def test_secrets_are_all_encrypted_with_first_key(settings, stored, capsys):
    stored(OLD, *(f"req_{number}" for number in range(secret_rotation.BATCH + 5)))
    stored(NEW, "req_new")
    settings.SECRET_KEYS = [NEW, OLD]
    call_command("rotate_secrets")
    assert capsys.readouterr().out == "Encrypted 105 secrets with the first of SECRET_KEYS; 1 was so already.\n"
    settings.SECRET_KEYS = [NEW]
    assert all(row.content.read() == row.request_id.encode() for row in UsageContent.objects.all())
    entry = AuditEntry.objects.get(action="rotated")
    assert (entry.actor, entry.source, entry.object_type) == ("rotate_secrets", "command", "accounts.usagecontent")
    assert entry.object_text == "105 × logged contents"


def test_second_run_leaves_out_what_is_done(settings, stored, capsys):
    stored(OLD, "req_a", "req_b")
    settings.SECRET_KEYS = [NEW, OLD]
    call_command("rotate_secrets")
    before = list(UsageContent.objects.order_by("pk").values_list("content", flat=True))
    call_command("rotate_secrets")
    assert capsys.readouterr().out.endswith("Encrypted 0 secrets with the first of SECRET_KEYS; 2 were so already.\n")
    assert list(UsageContent.objects.order_by("pk").values_list("content", flat=True)) == before


def test_unreadable_secret_ends_with_one_line(settings, stored):
    stored(LOST, "req_lost")
    stored(OLD, "req_kept")
    settings.SECRET_KEYS = [NEW, OLD]
    with pytest.raises(CommandError) as refusal:
        call_command("rotate_secrets")
    words = str(refusal.value)
    assert words.startswith("Encrypted 1 secret with the first of SECRET_KEYS; 0 were so already. 1 cannot be read")
    assert "accounts.UsageContent req_lost" in words
    assert "\n" not in words
    settings.SECRET_KEYS = [NEW]
    assert UsageContent.objects.get(pk="req_kept").content.read() == b"req_kept"


def test_wrong_key_breaks_no_list(settings, stored):
    stored(LOST, "req_lost")
    settings.SECRET_KEYS = [NEW]
    assert [row.content for row in UsageContent.objects.all()] != []
    with pytest.raises(SecretUnreadableError):
        UsageContent.objects.get().content.read()
