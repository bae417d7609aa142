"""Encoded bodies, read without being believed."""

import asyncio
import gzip
import os
import sys
import zlib

import pytest

from bridge.chat.errors import InvalidRequest, TooLarge, UnsupportedEncoding
from bridge.http import encodings
from bridge.http.body import decoded

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN = b'{"model":"org_auto","messages":[]}'
LONG = os.urandom(1 << 19).hex().encode() * 3


def bare(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACK = {
    b"gzip": lambda data: gzip.compress(data, 1),
    b"deflate": lambda data: zlib.compress(data, 1),
    b"zstd": zstd.compress,
}
packed = pytest.mark.parametrize("encoding", PACK)


@packed
@pytest.mark.parametrize("plain", [PLAIN, LONG, b""], ids=["short", "long", "empty"])
async def test_encoded_body_comes_back(encoding, plain):
    assert await decoded(PACK[encoding](plain), encoding) == plain


async def test_deflate_is_read_without_its_frame_too():
    assert await decoded(bare(LONG), b"deflate") == LONG


@packed
async def test_all_members_are_read(encoding):
    body = PACK[encoding](PLAIN) + PACK[encoding](LONG) + PACK[encoding](PLAIN)
    assert await decoded(body, encoding) == PLAIN + LONG + PLAIN
    assert await decoded(body + b"\0" * 512, encoding) == PLAIN + LONG + PLAIN


@packed
@pytest.mark.parametrize("plain", [PLAIN, LONG], ids=["short", "long"])
async def test_truncated_or_trailing_data_is_refused(encoding, plain):
    whole = PACK[encoding](plain)
    for body in (b"", whole[:-1], whole[: len(whole) // 2], whole + b"x", whole + b"\0x", b"x" + whole):
        with pytest.raises(InvalidRequest, match=f"not the {encoding.decode()}"):
            await decoded(body, encoding)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [(b"gzip", gzip.compress(PLAIN)), (b"deflate", zlib.compress(PLAIN)),
     (b"zstd", zstd.compress(PLAIN, options={zstd.CompressionParameter.checksum_flag: 1}))],
    ids=["gzip", "deflate", "zstd"],  # a gzip holds the time it was made
)  # fmt: skip
async def test_the_check_sum_is_checked(encoding, body):
    at = -5 if encoding == b"gzip" else -1
    wrong = bytearray(body)
    wrong[at] ^= 1
    with pytest.raises(InvalidRequest):
        await decoded(bytes(wrong), encoding)


@packed
async def test_body_growing_without_end_is_refused_early(encoding):
    bomb = PACK[encoding](b" " * (16 << 20))
    with pytest.raises(TooLarge, match="grows more than 200 times"):
        await decoded(bomb, encoding)


@packed
def test_body_decoded_too_large_is_refused(encoding):
    with pytest.raises(TooLarge, match="exceeds 2 MiB"):
        list(encodings.slices(PACK[encoding](LONG), encoding, 2 << 20))


async def test_a_large_window_is_refused():
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    wide = packer.compress(LONG) + packer.flush()
    with pytest.raises(InvalidRequest):
        await decoded(wide, b"zstd")


@packed
async def test_millions_of_tiny_members_are_refused(encoding):
    with pytest.raises(InvalidRequest):
        await decoded(PACK[encoding](b" ") * (encodings.MOST_MEMBERS + 1), encoding)


@pytest.mark.parametrize("encoding", [b"br", b"gzip,gzip", b"gzip, deflate", b"aws-chunked"])
async def test_other_encodings_are_refused(encoding):
    with pytest.raises(UnsupportedEncoding, match="gzip, deflate, zstd"):
        await decoded(PLAIN, encoding)


@packed
async def test_other_tasks_run_during_a_large_decode(encoding):
    body = PACK[encoding](LONG)
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    assert len(await decoded(body, encoding)) == len(LONG)
    other.cancel()
    assert turns > 4
