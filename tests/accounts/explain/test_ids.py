import pytest

from accounts.explain.ids import request_id_of

DIGITS = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "text",
    [
        f"req_{DIGITS}", f"chatcmpl-{DIGITS}", f"msg_{DIGITS}", f"resp_{DIGITS}", DIGITS, DIGITS.upper(),
        f"  req_{DIGITS}\n", f'"msg_{DIGITS}",', f"msg_{DIGITS}i0", f"fc_{DIGITS}i1f",
        f"req_{DIGITS}.", f"(req_{DIGITS}).", f"[msg_{DIGITS}]", f"req_{DIGITS}:", f"“req_{DIGITS}”。",
        f"req_{DIGITS}）",
    ],
)  # fmt: skip
def test_all_ids_lead_to_the_row(text):
    assert request_id_of(text) == f"req_{DIGITS}"


@pytest.mark.parametrize("text", ["", "  ", "two words", "x" * 200, "a\0b", "a/b", "//evil.example"])
def test_text_without_an_id_finds_nothing(text):
    assert request_id_of(text) == ""


def test_id_of_another_kind_stays():
    assert request_id_of("demo-17") == "demo-17"
    assert request_id_of("demo-17.") == "demo-17."
