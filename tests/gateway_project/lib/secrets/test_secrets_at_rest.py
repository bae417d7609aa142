import pytest

from accounts.models import UsageContent
from gateway_project.lib.secrets.secrets_at_rest import Secret, SecretBox, SecretUnreadableError

OLD, NEW = "an old key of this gateway", "a new key of this gateway"
FIELD = UsageContent._meta.get_field("content")


def test_first_key_encrypts_and_any_reads():
    token = SecretBox([OLD]).encrypt(b"password")
    assert b"password" not in token
    assert SecretBox([NEW, OLD]).decrypt(token) == b"password"


def test_wrong_key_says_what_to_do():
    token = SecretBox([OLD]).encrypt(b"password")
    with pytest.raises(SecretUnreadableError, match="SECRET_KEYS"):
        SecretBox([NEW]).decrypt(token)


@pytest.mark.parametrize("token", [b"", b"password", b"gAAAAA" * 20, "密码".encode()])
def test_damaged_secret_is_unreadable(token):
    with pytest.raises(SecretUnreadableError):
        SecretBox([NEW]).decrypt(token)


def test_renewed_is_under_the_first_key_alone():
    token = SecretBox([OLD]).encrypt(b"password")
    renewed = SecretBox([NEW, OLD]).renewed(token)
    assert SecretBox([NEW]).decrypt(renewed) == b"password"
    assert SecretBox([NEW, OLD]).renewed(renewed) is None


def test_secret_shows_nothing_of_itself(settings):
    settings.SECRET_KEYS = [OLD]
    secret = Secret.of(b"password")
    assert f"{secret} {secret!r}" == "*** ***"
    assert secret.read() == b"password"


def test_column_takes_nothing_in_clear():
    with pytest.raises(TypeError, match="content takes a Secret"):
        FIELD.get_prep_value(b"password")
    assert FIELD.get_prep_value(None) is None
