"""Files in a request: text is passed on, whatever its spelling; everything else is named, in every format."""

import base64
import encodings
import json
from uuid import uuid4

import pytest

from bridge.wire.anthropic import format as anthropic
from bridge.wire.attached import LONGEST_NAMED, MOST_NAMED, Attached, warning_of
from bridge.wire.documents import LARGEST_TEXT, File, read_file
from bridge.wire.openai import format as openai_chat
from bridge.wire.responses import format as responses

FORMATS = {"openai_chat": openai_chat.FORMAT, "anthropic": anthropic.FORMAT, "responses": responses.FORMAT}
formats = pytest.mark.parametrize("name", FORMATS)
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
PNG = "data:image/png;base64,iVBORw0KGgoAAAA="


def b64(data):
    return base64.b64encode(data).decode()


def said(name, *parts):
    """The message that a user's parts become."""
    fields = {"model": "m", "max_tokens": 5} if name == "anthropic" else {"model": "m"}
    turns = "input" if name == "responses" else "messages"
    return (
        FORMATS[name]
        .parse(json.dumps({**fields, turns: [{"role": "user", "content": parts}]}).encode())
        .request.messages[0]
    )


def a_file(name, data, kind, title="notes.txt"):
    """A file as clients of the format send it."""
    if name == "anthropic":
        source = {"type": "base64", "media_type": kind, "data": b64(data)}
        return {"type": "document", "source": source, "title": title}
    file = {"filename": title, "file_data": f"data:{kind};base64,{b64(data)}"}
    return {"type": "input_file", **file} if name == "responses" else {"type": "file", "file": file}


TEXTS = [
    "text/plain", "text/markdown", "text/csv", "application/json", "application/xml", "text/x-python", "image/svg+xml",
    "application/x-yaml", "application/octet-stream", "", "text/plain; charset=utf-8",
]  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS)
@formats
def test_text_file_is_passed_on_under_its_name(name, kind):
    message = said(name, a_file(name, "# 标题\nhello QX".encode(), kind))
    assert (message.text, message.dropped, message.images) == ("notes.txt\n# 标题\nhello QX", (), ())


@pytest.mark.parametrize(
    ("data", "kind", "what"),
    [
        (PDF, "application/pdf", "PDF"),
        (PDF, "application/octet-stream", "PDF"),
        (PDF, "text/plain", "PDF"),
        (b"PK\x03\x04rest", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "file"),
        (b"\x00\x01\x02\x03" * 2000, "application/octet-stream", "file"),
        (b"\xfe\xfd\xfc" * 2000, "text/plain", "file"),
        (b"RIFF\x00\x00WAVE", "audio/wav", "audio"),
        (b"\x00\x00ftypmp4", "video/mp4", "video"),
        (b"BM1234", "image/bmp", "picture"),
    ],
)
@formats
def test_a_file_that_is_none_is_named(name, data, kind, what):
    message = said(name, a_file(name, data, kind, "report.bin"), {"type": "text", "text": "Sum it up."})
    placeholder = "[document]" if name == "anthropic" else "[file]"
    assert message.text == f"report.bin\n{placeholder}\nSum it up."
    assert message.dropped == (f"{what} 'report.bin'",)


@formats
def test_picture_sent_as_file_is_a_picture(name):
    message = said(name, a_file(name, base64.b64decode("iVBORw0KGgoAAAA="), "image/png"))
    assert (message.images, message.dropped) == ((PNG,), ())


ELSEWHERE = {
    "openai_chat": [{"type": "file", "file": {"file_id": "file-1"}}, {"type": "input_audio", "input_audio": {}},
                    {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}],
    "responses": [{"type": "input_file", "file_id": "file-1"}, {"type": "input_file", "file_url": "https://e.com/a"},
                  {"type": "input_audio", "input_audio": {}}, {"type": "input_video", "video_url": "https://e.com/a"}],
    "anthropic": [{"type": "document", "source": {"type": "url", "url": "https://e.com/a.pdf"}},
                  {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
                  {"type": "container_upload", "file_id": "file_1"}, {"type": "audio", "source": {"data": "AA"}}],
}  # fmt: skip


@formats
def test_parts_not_passed_on_are_named(name):
    for part in ELSEWHERE[name]:
        message = said(name, part, {"type": "text", "text": "Hi"})
        assert len(message.dropped) == 1, part
        assert message.text.endswith("Hi")


def test_document_text_may_have_many_spellings():
    for file in (
        File("a", "text/plain", b64(b"hello QX")),
        File("a", "", b64(b"hello QX")),
        File("a", "", b64(b"hello QX" * 4000)[:-1].rstrip("=")),
        File("a", "text/plain", base64.encodebytes(b"hello QX" * 4000).decode()),
        File("a", "", f"data:text/plain;base64,{b64(b'hello QX')}"),
        File("a", "", "data:text/plain,hello%20QX"),
        File("a", "", "data:,hello%20QX"),
        File("a", "text/plain", "hello QX\n", plain=True),
        File("a", "", "hello QX, which is no base64."),
        File("a", "text/plain;charset=gbk", b64("hello QX 通义".encode("gbk"))),
        File("a", "text/plain", b64("hello QX".encode("utf-16"))),
        File("a", "text/plain", b64(b"\xef\xbb\xbfhello QX")),
        File("a", "text/plain;charset=nonsense", b64(b"hello QX")),
        File("a", "text/plain;charset=rot13", b64(b"hello QX")),
    ):
        attached = Attached()
        text = read_file(file, attached)
        assert text.startswith("hello QX"), file
        assert not attached.dropped


@pytest.mark.parametrize(
    ("spelling", "encoding"),
    [("UTF8", "utf-8"), ("utf_8", "utf-8"), ("Latin1", "latin-1"), ("ISO-8859-1", "latin-1"), ("l1", "latin-1"),
     ("windows-1252", "cp1252"), ("GB2312", "gb2312"), ("cp936", "gbk"), ("x-mac-japanese", "shift_jis"),
     ("Shift-JIS", "shift_jis"), ("utf-16", "utf-16"), ("US-ASCII", "ascii")],
)  # fmt: skip
def test_charset_may_have_many_spellings(spelling, encoding):
    text = {"latin-1": "Grüße", "cp1252": "„Grüße“", "ascii": "hello", "utf-16": "Grüße"}.get(encoding, "日本")
    for kind in (f"text/plain; charset={spelling}", f'text/plain; charset="{spelling}"'):
        assert read_file(File("a", kind, b64(text.encode(encoding))), Attached()) == text


LATIN = "text/plain; charset=iso-8859-1"


@pytest.mark.parametrize(
    "file",
    [
        File("a", LATIN, "Grüße, nicht in base64"),
        File("a", "text/plain; charset=gbk", "\ufeffGrüße, nicht in base64"),
        File("a", "", f"data:{LATIN},Grüße,%20nicht in base64"),
        File("a", "", f"data:{LATIN},Gr%FC%DFe,%20nicht%20in%20base64"),
        File("a", LATIN, b64("Grüße, nicht in base64".encode("latin-1"))),
    ],
)
def test_charset_is_that_of_bytes_only(file):
    assert read_file(file, Attached()) == "Grüße, nicht in base64"


def test_text_in_place_of_base64_is_taken():
    source = {"type": "base64", "media_type": LATIN, "data": "Grüße, 通义"}
    assert said("anthropic", {"type": "document", "source": source}).text == "Grüße, 通义"


@formats
def test_charset_nobody_knows_is_not_kept(name):
    # Also another spelling of a known one: there are as many as a client cares to write.
    kinds = [f"text/plain; charset={uuid4()}", f"text/plain; charset={'k' * 100}{uuid4()}",
             f"text/plain; charset=gbk{'-' * len(str(uuid4()))}"]  # fmt: skip
    said(name, a_file(name, b"hello QX", "text/plain"))
    before = set(encodings._cache)
    assert [said(name, a_file(name, b"hello QX", kind)).text for kind in kinds] == ["notes.txt\nhello QX"] * 3
    assert set(encodings._cache) == before


def test_a_huge_file_is_not_even_decoded():
    attached = Attached()
    assert read_file(File("a.txt", "text/plain", "QUJD" * (LARGEST_TEXT // 2)), attached) == "[file]"
    assert attached.dropped == ["file 'a.txt'"]


def warning(*lost):
    attached = Attached()
    for what, name in lost:
        attached.drop(what, name)
    return warning_of([said("openai_chat", {"type": "text", "text": "Hi"}), _losing(attached)])


def _losing(attached):
    message = said("openai_chat", {"type": "text", "text": "Hi"})
    return type(message)("user", "Hi", dropped=tuple(attached.dropped))


def test_a_warning_names_what_was_lost_once():
    told = warning(("PDF", "a.pdf"), ("PDF", "a.pdf"), ("audio", ""))
    assert told == "not passed on, as only text and pictures are: PDF 'a.pdf' (2 times), audio"
    assert warning() == ""


def test_warning_fits_a_header_with_any_names():
    told = warning(*[("PDF", f"{index}\r\nx-evil: 1 通义\u202e" + "x" * 1000) for index in range(1000)])
    assert told.isascii()
    assert told.isprintable()
    assert len(told) < (MOST_NAMED + 1) * (LONGEST_NAMED * 10 + 20)
    assert told.endswith(f"{1000 - MOST_NAMED} more")


# -- results of tools ---------------------------------------------------------------------------------------------


def result(name, told):
    """The message of a tool that gave this back."""
    if name == "responses":
        items = [{"type": "function_call_output", "call_id": "c", "output": told}]
        body = {"model": "m", "input": items}
    elif name == "anthropic":
        block = {"type": "tool_result", "tool_use_id": "c", "content": told}
        body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": [block]}]}
    else:
        body = {"model": "m", "messages": [{"role": "tool", "tool_call_id": "c", "content": told}]}
    (message,) = FORMATS[name].parse(json.dumps(body).encode()).request.messages
    return message


TEXT = {"type": "text", "text": "A chart:"}
PICTURES = [
    {"type": "input_image", "image_url": PNG},
    {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgoAAAA="}},
    {"type": "image", "data": "iVBORw0KGgoAAAA=", "mimeType": "image/png", "annotations": {"audience": ["user"]}},
]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda part: "-".join(part))
@pytest.mark.parametrize("wrap", [list, lambda parts: {"content": parts, "isError": False}], ids=["list", "mcp"])
@formats
def test_result_of_json_parts_is_read_as_parts(name, wrap, picture):
    for indent in (None, 2):
        message = result(name, json.dumps(wrap([TEXT, picture]), indent=indent))
        assert (message.text, message.images) == ("A chart:\n[image]", (PNG,))


@formats
def test_lone_text_part_may_hold_json_parts(name):
    kind = "input_text" if name == "responses" else "text"
    message = result(name, [{"type": kind, "text": json.dumps([PICTURES[0]])}])
    assert (message.text, message.images) == ("[image]", (PNG,))


LETTERS = [
    '{"a": 1}', "[1, 2, 3]", "[]", "[", "{}", '[{"type": "text", "text": "x"}]', '[{"role": "user", "content": "x"}]',
    '[ {"type":"image","name":"logo.png"} ]', '[{"type": "image", "source": "none"}]', '[{"type": "image_url"}]',
    '[{"type": "image_url", "image_url": "logo"}]', '[{"type": "image", "data": "no base64!"}]',
    json.dumps([PICTURES[0], {"kind": "other"}]), json.dumps([PICTURES[0], 5]), json.dumps({"parts": [PICTURES[0]]}),
    json.dumps([PICTURES[0]]) + " and more", "see: " + json.dumps([PICTURES[0]]), json.dumps(PICTURES[0]),
    '[{"type":"image"},' + "[" * 50_000, '{"type": "image"}' * 3,
]  # fmt: skip


@pytest.mark.parametrize("text", LETTERS, ids=lambda text: text[:30])
@formats
def test_other_json_stays_to_the_letter(name, text):
    message = result(name, text)
    assert (message.text, message.images, message.dropped) == (text, (), ())


def test_json_parts_are_sought_only_in_tool_results():
    text = json.dumps([PICTURES[0]])
    assert said("openai_chat", {"type": "text", "text": text}).text == text


def test_a_crowded_result_is_left_as_it_is():
    text = '[{"type":"image","data":"iVBORw0KGgoAAAA="}' + ',{"type":"text","text":""}' * 200_000 + "]"
    assert result("openai_chat", text).text == text


@formats
def test_list_with_a_picture_is_read_as_before(name):
    picture = PICTURES[2] if name == "anthropic" else PICTURES[1]
    assert result(name, [TEXT, picture]).images == (PNG,)


def test_a_screenshot_is_a_picture():
    output = {"type": "computer_screenshot", "image_url": PNG}
    body = {"model": "m", "input": [{"type": "computer_call_output", "call_id": "c", "output": output}]}
    (message,) = responses.FORMAT.parse(json.dumps(body).encode()).request.messages
    assert (message.text, message.images) == ("[image]", (PNG,))
