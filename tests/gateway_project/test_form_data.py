"""Forms with files, however they are sliced."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.server.form_data import LONGEST_HEAD, BadForm, Begins, Ends, FormData, boundary_of

FILE = b"PK\3\4\r\n--no\r\n\r\n--" + bytes(range(256))
BODY = b"".join((
    b'before\r\n--B\r\nContent-Disposition: form-data; name="token"\r\n\r\nabc\r\n',
    b'--B\r\ncontent-type: application/zip\r\ncontent-disposition: form-data; name="file"; filename="a b.vsix"\r\n\r\n',
    FILE, b"\r\n--B--\r\nbehind",
))  # fmt: skip


def read(body, size):
    form, parts = FormData(b"B"), []
    for start in range(0, len(body), size):
        for event in form.feed(body[start : start + size]):
            match event:
                case Begins():
                    parts.append([event.name, event.is_file, b""])
                case bytes():
                    parts[-1][2] += event
    return form, [tuple(each) for each in parts]


@pytest.mark.parametrize("size", [1, 7, len(BODY)])
def test_slices_make_no_difference(size):
    form, parts = read(BODY, size)
    assert form.is_done
    assert parts == [("token", False, b"abc"), ("file", True, FILE)]


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_file_comes_out_as_it_was(data, size):
    if b"\r\n--B" in b"\r\n" + data:
        return
    body = b'--B\r\nContent-Disposition: form-data; name="f"; filename=""\r\n\r\n' + data + b"\r\n--B--"
    assert read(body, size)[1] == [("f", True, data)]


def test_each_part_ends_once():
    events = FormData(b"B").feed(BODY)
    assert [type(each) for each in events if not isinstance(each, bytes)] == [Begins, Ends, Begins, Ends]


def test_form_that_breaks_off_is_not_done():
    assert not read(BODY[:-10], 50)[0].is_done


@pytest.mark.parametrize(
    "body",
    [
        b"x" * (LONGEST_HEAD + 9), b"--B\r\n" + b"x" * (LONGEST_HEAD + 9), b"--B\r\nno: disposition\r\n\r\n",
        b"--Bxx", b'--B\r\nContent-Disposition: form-data; filename="only"\r\n\r\n',
    ],
)  # fmt: skip
def test_malformed_form_is_refused(body):
    with pytest.raises(BadForm):
        FormData(b"B").feed(body)


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        (b"multipart/form-data; boundary=--x1", b"--x1"),
        (b'Multipart/Form-Data; charset=utf-8; boundary="a b"', b"a b"),
        (b"application/json", None),
        (b"", None),
    ],
)
def test_boundary_is_that_of_the_header(kind, boundary):
    assert boundary_of(kind) == boundary


@pytest.mark.parametrize("kind", [b"multipart/form-data", b"multipart/form-data; boundary=" + b"x" * 71])
def test_form_without_a_boundary_is_refused(kind):
    with pytest.raises(BadForm):
        boundary_of(kind)
