"""Images are decoded before they are believed, and made smaller when they are too large."""

import pytest
from PIL import Image

from bridge.images.prepare import Unusable, prepare
from bridge.images.sniff import kind_of
from tests.bridge.images.pictures import PNG, animation, bomb, noise, opened, picture

MANY = 10_000_000


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_small_image_passes_byte_for_byte(kind):
    data = picture(kind, (64, 32))
    assert prepare(data, kind, max_side=64, max_bytes=MANY).data == data


def test_an_animation_within_the_limits_stays_one():
    assert prepare(animation(), "gif", max_side=200, max_bytes=MANY).data == animation()


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
@pytest.mark.parametrize(("size", "becomes"), [((200, 100), (64, 32)), ((100, 200), (32, 64)), ((5000, 1), (64, 1))])
def test_larger_image_is_scaled_and_keeps_its_type(kind, size, becomes):
    prepared = prepare(picture(kind, size), kind, max_side=64, max_bytes=MANY)
    assert (prepared.kind, kind_of(prepared.data), opened(prepared.data).size) == (kind, kind, becomes)


@pytest.mark.parametrize(
    ("kind", "mode", "colour"),
    [
        ("png", "1", 1), ("png", "L", 99), ("png", "LA", (99, 50)), ("png", "P", 1), ("png", "RGBA", (9, 9, 9, 9)),
        ("png", "I;16", 40_000), ("jpeg", "L", 99), ("jpeg", "CMYK", (1, 2, 3, 4)), ("webp", "RGBA", (9, 9, 9, 9)),
    ],
)  # fmt: skip
def test_images_of_every_mode_can_be_scaled(kind, mode, colour):
    data = picture(kind, (200, 100), mode, colour)
    assert opened(prepare(data, kind, max_side=64, max_bytes=MANY).data).size == (64, 32)


def test_sixteen_bits_become_eight_of_the_same_brightness():
    prepared = prepare(picture("png", (200, 100), "I;16", 40_000), "png", max_side=64, max_bytes=MANY)
    assert opened(prepared.data).getpixel((0, 0)) == 40_000 // 256


def test_transparency_survives():
    prepared = prepare(picture("png", (200, 100), transparency=(0, 0, 0)), "png", max_side=64, max_bytes=MANY)
    assert opened(prepared.data).getpixel((0, 0))[3] == 0


def test_large_animation_keeps_its_first_frame():
    image = opened(prepare(animation(), "gif", max_side=64, max_bytes=MANY).data)
    assert (image.n_frames, image.convert("RGB").getpixel((0, 0))) == (1, (255, 0, 0))


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_scaled_image_is_upright_without_metadata(kind):
    exif = Image.Exif()
    exif[0x0112], exif[0x0131] = 6, "secret"
    prepared = prepare(picture(kind, (200, 100), exif=exif), kind, max_side=64, max_bytes=MANY)
    assert opened(prepared.data).size == (32, 64)
    assert not opened(prepared.data).getexif()
    assert b"secret" not in prepared.data


def test_image_of_too_many_bytes_becomes_jpeg():
    data = noise((300, 300))
    prepared = prepare(data, "png", max_side=300, max_bytes=len(data) - 1)
    assert (prepared.kind, opened(prepared.data).size, len(prepared.data) < len(data)) == ("jpeg", (300, 300), True)


def test_smaller_jpeg_follows_if_still_too_large():
    prepared = prepare(noise((300, 300)), "png", max_side=300, max_bytes=10_000)
    assert len(prepared.data) <= 10_000
    assert max(opened(prepared.data).size) < 300


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_000, 9_000), (8_000, 7_000)])
def test_a_bomb_is_refused_by_its_header(size):
    data = bomb(*size)
    assert len(data) < 5_000
    with pytest.raises(Unusable, match="50 million pixels") as caught:
        prepare(data, "png", max_side=2048, max_bytes=MANY)
    assert caught.value.code == "image_too_large"


@pytest.mark.parametrize(
    ("kind", "mode", "side", "options"),
    [
        ("webp", "RGB", 4600, {"method": 0, "quality": 1}),
        ("png", "RGB", 4900, {"transparency": (0, 0, 0), "compress_level": 1}),
        ("png", "I;16", 5800, {"compress_level": 1}),
    ],
)
def test_image_needing_too_much_memory_is_refused(kind, mode, side, options):
    data = picture(kind, (side, side), mode, **options)
    with pytest.raises(Unusable, match="million pixels") as caught:
        prepare(data, kind, max_side=64, max_bytes=MANY)
    assert caught.value.code == "image_too_large"


def test_the_pixels_of_a_request_are_counted_together():
    data = picture("png", (200, 100))
    assert prepare(data, "png", max_side=64, max_bytes=MANY, pixels_left=20_000).pixels == 20_000
    with pytest.raises(Unusable, match="together"):
        prepare(data, "png", max_side=64, max_bytes=MANY, pixels_left=19_999)


def test_a_jpeg_of_endless_scans_is_refused():
    data = picture("jpeg")
    with pytest.raises(Unusable, match="scans"):
        prepare(data[:-2] + b"\xff\xda" * 300, "jpeg", max_side=2048, max_bytes=MANY)


@pytest.mark.parametrize("max_side", [4096, 64], ids=["to pass", "to be scaled"])
@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_an_image_that_is_cut_off_is_refused(kind, max_side):
    data = picture(kind, (400, 300), "L" if kind != "webp" else "RGB", None)
    with pytest.raises(Unusable, match="cut off"):
        prepare(data[: len(data) * 2 // 3], kind, max_side=max_side, max_bytes=MANY)


@pytest.mark.parametrize("data", [b"GIF89a", PNG[:8], b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", PNG[:30] + PNG[40:]])
def test_beginning_of_an_image_is_refused(data):
    with pytest.raises(Unusable):
        prepare(data, kind_of(data), max_side=2048, max_bytes=MANY)


def test_reader_is_the_one_of_the_sniffed_type():
    with pytest.raises(Unusable):
        prepare(PNG, "jpeg", max_side=2048, max_bytes=MANY)
