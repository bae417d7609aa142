"""The seal of a backup: it opens whole and unchanged, or not at all."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.backup import records, sealed
from gateway_project.backup.errors import BackupError
from gateway_project.backup.records import Manifest, Table, Writer
from gateway_project.backup.sealed import PIECE, TAG, Sealer

PASSPHRASE = "correct horse battery"
CHEAP = 16
SIZES = [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7]


def seal(data, slices=(1 << 30,), passphrase=PASSPHRASE):
    file = io.BytesIO()
    sealer = Sealer(file, passphrase, "1.2.3", "2026-11-29T10:00:00+00:00", CHEAP)
    place = 0
    while place < len(data):
        for size in slices:
            sealer.write(data[place : place + size])
            place += size
    sealer.close()
    return file.getvalue()


def unseal(data, passphrase=PASSPHRASE):
    return b"".join(sealed.opened(io.BytesIO(data), passphrase))


def head_of(data):
    return data.index(b"\n", data.index(b"\n") + 1) + 1


@pytest.mark.parametrize("size", SIZES)
def test_sealed_data_opens_as_it_was(size):
    data = os.urandom(size)
    assert unseal(seal(data)) == data


@given(st.binary(max_size=200), st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_slices_make_no_difference(data, slices):
    data *= 2000
    assert unseal(seal(data, [each * 997 for each in slices])) == data


class Dripping(io.BytesIO):
    """Gives less than it is asked for, as a pipe does."""

    def read(self, size=-1):
        return super().read(min(size, 1000))


@pytest.mark.parametrize("size", SIZES)
def test_pipe_gives_the_same_as_a_file(size):
    data = os.urandom(size)
    assert b"".join(sealed.opened(Dripping(seal(data)), PASSPHRASE)) == data


WHOLE = seal(os.urandom(2 * PIECE + 100))


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 7))
def test_flipped_bit_does_not_open(place, bit):
    damaged = bytearray(WHOLE)
    damaged[place] ^= 1 << bit
    with pytest.raises(BackupError):
        unseal(bytes(damaged))


@given(st.integers(0, len(WHOLE) - 1))
def test_file_that_is_cut_does_not_open(length):
    with pytest.raises(BackupError):
        unseal(WHOLE[:length])


@pytest.mark.parametrize("pieces", [1, 2])
def test_cut_between_pieces_does_not_open(pieces):
    with pytest.raises(BackupError, match="its end is missing"):
        unseal(WHOLE[: head_of(WHOLE) + pieces * (PIECE + TAG)])


MORE = {"byte": b"\0", "twice": WHOLE[head_of(WHOLE) :], "piece": os.urandom(PIECE + TAG)}


@pytest.mark.parametrize("what", MORE)
def test_file_that_has_grown_does_not_open(what):
    with pytest.raises(BackupError):
        unseal(WHOLE + MORE[what])


def test_pieces_in_another_order_do_not_open():
    head, size = head_of(WHOLE), PIECE + TAG
    first, second, last = WHOLE[head : head + size], WHOLE[head + size : head + 2 * size], WHOLE[head + 2 * size :]
    with pytest.raises(BackupError):
        unseal(WHOLE[:head] + second + first + last)


def test_pieces_of_another_backup_do_not_open():
    other = seal(os.urandom(2 * PIECE + 100))
    with pytest.raises(BackupError):
        unseal(WHOLE[: head_of(WHOLE)] + other[head_of(other) :])


def test_wrong_passphrase_is_named():
    with pytest.raises(BackupError, match="The passphrase is not that of the backup"):
        unseal(WHOLE, "another passphrase")


def test_passphrase_may_be_typed_in_two_ways():
    assert unseal(seal(b"x", passphrase="cafe\u0301 au lait"), "caf\u00e9 au lait") == b"x"


def test_newer_format_needs_no_passphrase_to_tell():
    newer = WHOLE.replace(b'"format":1', b'"format":2', 1).replace(b'"gateway":"1.2.3"', b'"gateway":"9.0"', 1)
    with pytest.raises(BackupError, match=r"version 9\.0 in format 2"):
        sealed.read_head(io.BytesIO(newer))


@pytest.mark.parametrize("cost", [b"1099511627776", b"0", b"-4", b"1000", b'"x"'])
def test_strange_cost_of_the_head_is_refused(cost):
    with pytest.raises(BackupError):
        unseal(WHOLE.replace(b'"cost":16', b'"cost":' + cost, 1))


@pytest.mark.parametrize("other", [b"", b"\n", b"{}\n{}\n", b"SQLite format 3\0" + bytes(5000), b'{"magic":"a"}\nx\n'])
def test_other_file_is_no_backup(other):
    with pytest.raises(BackupError, match="This is no backup"):
        unseal(other)


MANIFEST = Manifest("1", "now", "sqlite", [("accounts", "0001")], "s", ["k"], "p", {"A": "b"})


class Memory(io.BytesIO):
    def close(self):
        """What was written can be read."""


@given(st.lists(st.lists(st.none() | st.integers(-(2**62), 2**62) | st.text('aé通"\\\n\0', max_size=20)), max_size=20))
def test_rows_come_back_as_they_were(rows):
    memory = Memory()
    writer = Writer(memory)
    table = Table("t", [("id", "AutoField")], 7)
    for line in (MANIFEST, table, *rows):
        writer.write(line)
    writer.content(b"\0\1\2")
    writer.close()
    data = memory.getvalue()
    for size in (1, 7, len(data)):
        pieces = [data[place : place + size] for place in range(0, len(data), size)]
        assert list(records.lines(pieces)) == [MANIFEST, table, *rows, b"\0\1\2"]


def test_small_backup_of_much_is_read_in_steps():
    memory = Memory()
    writer = Writer(memory)
    writer.write("A" * (8 << 20))
    writer.close()
    assert len(memory.getvalue()) < 100_000
    steps = list(records._unpacked([memory.getvalue()]))
    assert max(map(len, steps)) <= records.AT_ONCE
