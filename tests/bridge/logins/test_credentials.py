"""What a login is made with, as it is given in a file."""

import pytest

from bridge.logins.credentials import (
    AccessKey,
    BadCredentials,
    Password,
    PersonalToken,
    read,
    read_device,
    without_secrets,
)
from bridge.status.logins import LoginKind


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("password", ["s3cret", " s3cret ", "s3 cret\t", "a\u2028b", "a\x0b\x85", "\u3000x\u00a0"])
def test_password_is_taken_as_it_is(password, end):
    given = f"{end} ann {end}{end}{password}{end}{end}".encode("utf-8-sig")
    assert read(LoginKind.AUTOMATIC, given) == Password("ann", password)


@pytest.mark.parametrize("given", [b"ann\n", b"ann\n  \n", b"ann\npass\nmore", b"", b"\xff\n\xff"])
def test_other_than_two_lines_is_no_password(given):
    with pytest.raises(BadCredentials):
        read(LoginKind.AUTOMATIC, given)


@pytest.mark.parametrize("given", [b'{"x":' + b"[" * 10_000, b'{"token": "\xff"}', b"\xff", b"[]"])
def test_unreadable_tokens_are_bad_ones(given):
    with pytest.raises(BadCredentials):
        read_device(given)


def test_blanks_around_keys_are_nothing():
    assert read(LoginKind.AK_SK, b" key \r\n secret \r\n") == AccessKey("key", "secret")
    assert read(LoginKind.PERSONAL_TOKEN, b"\n token \n red \n") == PersonalToken("token", "red")


def test_password_is_hidden_without_its_blanks():
    assert without_secrets("no: s3cret, ' s3cret '", LoginKind.AUTOMATIC, b"ann\n s3cret \n") == "no: …, '…'"
