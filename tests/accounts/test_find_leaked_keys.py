"""Keys of this gateway, found in any text."""

import io
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from accounts.keys import leaks, services
from accounts.models import ApiKey, AuditEntry, Team
from gateway_project.lib.secrets.key_secret import generate

pytestmark = pytest.mark.django_db


def made(name, **fields):
    key = ApiKey(name=name, **fields)
    return key, services.create(key)


def imported(secret):
    key = ApiKey(name=secret)
    key.adopt(secret, settings.KEY_PEPPER)
    key.save()
    return key


@pytest.fixture
def find(monkeypatch):
    def run(text, **options):
        out, err = io.StringIO(), io.StringIO()
        data = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        call_command("find_leaked_keys", stdout=out, stderr=err, **options)
        return out.getvalue().splitlines(), err.getvalue()

    return run


def test_each_key_has_one_line_with_its_state(find):
    key, secret = made("alice", team=Team.objects.create(name="core"))
    gone, old = made("gone")
    services.revoke(gone)
    lines, summary = find(f"a\nkey = '{secret}'\n{secret}\nexport KEY={old}; {generate()}")
    assert lines == [f"alice ({key.hint}), team core: live, line 2", f"gone ({gone.hint}): revoked, line 4"]
    assert "2 keys found" in summary
    assert secret not in "".join(lines)
    assert "1 key found" in find(secret)[1]


@pytest.mark.parametrize(("grace", "word"), [(timedelta(hours=1), "works until"), (timedelta(0), "an older secret")])
def test_older_secret_of_a_key_is_found_too(find, grace, word):
    key, old = made("alice")
    services.rotate(key, grace)
    [line] = find(f"Bearer {old}\n")[0]
    assert line.startswith(f"alice ({key.hint}): live, an older secret")
    assert word in line


@pytest.mark.parametrize(
    "text",
    ["{}", '"{}"', "key={}", "https://x?key={}&b=1", "Authorization: Bearer {}", "{{'k':'{}'}}", "see {}.", "a,{},b"],
)
@pytest.mark.parametrize("secret", ["sk-some-old-key-of-ours", "b64+/key/of==", "0123456789abcdef:x"])
def test_imported_secret_is_found_in_any_frame(find, text, secret):
    imported(secret)
    [line] = find("first\n" + text.format(secret))[0]
    assert line.endswith(": live, line 2")


def test_other_text_has_no_leaked_keys(find):
    made("alice")
    assert find(f"{generate()} {'x' * 5000} \xff\x00 lgw_")[0] == []
    assert find(bytes(range(256)) * 100)[0] == []


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
def test_slices_make_no_difference(size):
    _, secret = made("alice")
    imported("sk-some-old-key-of-ours")
    text = f"{'word ' * 300}\n{'x' * 3000}{secret}{'y' * 900} sk-some-old-key-of-ours {'z' * 1000}".encode()
    blocks = [text[at : at + size] for at in range(0, len(text), size)]
    assert {(leak.key_id, leak.line) for leak in leaks.LeakFinder().find(blocks)} == {
        (key.pk, 2) for key in ApiKey.objects.all()
    }


def test_pieces_stay_small(monkeypatch):
    sizes = [len(text) for _, text in leaks._pieces(iter([b"x" * 4096] * 100))]
    assert max(sizes) <= 4096 + 2 * leaks.LONGEST


def test_key_that_is_expired_says_so(find):
    key, secret = made("late")
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() - timedelta(days=1))
    assert find(secret)[0] == [f"late ({key.hint}): expired, line 1"]


def test_keys_that_still_open_go_into_quarantine(find):
    (alice, secret), (bob, old), (carol, older) = made("alice"), made("bob"), made("carol")
    new = services.rotate(bob, timedelta(0))
    services.rotate(carol, timedelta(0))
    gone, revoked = made("gone")
    services.revoke(gone)
    lines, summary = find("\n".join([secret, old, new, older, revoked]), quarantine=True)
    assert [line.rpartition(", ")[2] for line in lines] == [
        "now in quarantine", "line 2", "now in quarantine", "line 4", "line 5",
    ]  # fmt: skip
    assert "4 keys found, 2 put in quarantine" in summary
    states = {key.name: (key.state(timezone.now()), key.quarantine_reason) for key in ApiKey.objects.all()}
    assert states == {
        "alice": ("quarantined", "find_leaked_keys found it in a text, line 1"),
        "bob": ("quarantined", "find_leaked_keys found it in a text, line 3"),
        "carol": ("live", ""),
        "gone": ("revoked", ""),
    }
    entry = AuditEntry.objects.filter(action="quarantined").last()
    assert (entry.source, entry.actor) == ("command", "find_leaked_keys")
    assert find(secret, quarantine=True)[0] == [f"alice ({alice.hint}): quarantined, line 1"]


def test_leaked_key_is_stopped_only_on_request(find):
    _, secret = made("alice")
    find(secret)
    assert ApiKey.objects.get().quarantined_at is None
