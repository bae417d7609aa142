import hmac
import re

import pytest

from gateway_project.lib.secrets.key_secret import digest_of, generate, hint_of, is_generated, is_mistyped


def test_a_secret_is_recognised_offline():
    secret = generate()
    assert re.fullmatch(r"lgw_[0-9A-Za-z]{8}_[0-9A-Za-z]{38}", secret)
    assert is_generated(secret)


@pytest.mark.parametrize("text", ["", "lgw_", "sk-ant-api03-abcdef", "lgw_" + "a" * 47, "lgw_aaaaaaaa_" + "b" * 38])
def test_foreign_text_is_no_generated_key(text):
    assert not is_generated(text)


def test_every_wrong_letter_is_noticed():
    secret = generate()
    wrong = [secret[:n] + ("x" if secret[n] != "x" else "y") + secret[n + 1 :] for n in range(len(secret))]
    assert not any(map(is_generated, wrong))


def test_a_mistyped_secret_is_known_without_a_look():
    secret = generate()
    last = "x" if secret[-1] != "x" else "y"
    assert is_mistyped(secret[:-1] + last)
    assert not any(map(is_mistyped, [secret, secret[:-1], secret + "x", "imported", secret[:-1] + "-", "", "lgw_"]))


def test_secrets_are_never_alike():
    assert len({generate() for _ in range(1000)}) == 1000


def test_the_hint_shows_the_prefix_only():
    secret = generate()
    assert hint_of(secret) == secret[:12]


@pytest.mark.parametrize(("secret", "hint"), [("a-long-key-of-old-times", "a-lo…"), ("short", "imported")])
def test_made_up_key_is_hardly_hinted_at(secret, hint):
    assert hint_of(secret) == hint


def test_the_digest_needs_the_pepper():
    secret = generate()
    assert digest_of(secret, b"one") != digest_of(secret, b"two")
    assert len(digest_of("schlüssel 密钥", b"one")) == 64


@pytest.mark.parametrize("size", [0, 1, 32, 63, 64, 65, 200])
def test_the_digest_is_the_standard_one(size):
    """RFC 2104: a pepper may be shorter than a block of the hash, as long, or longer."""
    pepper, secret = bytes(range(size)), "lgw_ä\udcff"
    expected = hmac.new(pepper, secret.encode(errors="surrogateescape"), "sha256").hexdigest()
    assert digest_of(secret, pepper) == expected
