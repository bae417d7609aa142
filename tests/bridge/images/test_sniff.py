"""Four types are known by their first bytes, and nothing else is an image."""

import pytest

from bridge.images.sniff import kind_of
from tests.bridge.images.pictures import PNG, picture


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_types_are_known_by_their_first_bytes(kind):
    assert kind_of(picture(kind)) == kind


@pytest.mark.parametrize("version", [b"GIF87a", b"GIF89a"])
def test_both_versions_of_gif_are_known(version):
    assert kind_of(version + picture("gif")[6:]) == "gif"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PNG[:7],
        b" " + PNG,
        b"RIFF\0\0\0\0WAVEfmt ",
        b"RIFF",
        b"GIF88a",
        b"\xff\xd8",
        b"BM\0\0\0\0",
        b"II*\0",
        b"%PDF-1.7",
        b"%!PS-Adobe",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<!doctype html>",
        b"\0\0\0\x1cftypavif",
    ],
)
def test_other_bytes_are_no_image(data):
    assert kind_of(data) is None
