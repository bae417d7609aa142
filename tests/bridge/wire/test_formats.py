"""The formats that are served, and how their clients are told apart."""

from accounts.pages import form, playground
from accounts.reports.words import PROTOCOLS
from bridge.wire.anthropic.format import FORMAT as ANTHROPIC
from bridge.wire.formats import DEFAULT, FORMATS, by_header


def test_each_format_has_a_path_of_its_own():
    assert len({each.path for each in FORMATS}) == len(FORMATS)
    assert all(each.path.startswith("/v1/") for each in FORMATS)
    assert DEFAULT in FORMATS


def test_names_fit_into_usage_rows():
    assert all(0 < len(each.name) <= 16 for each in FORMATS)


def test_a_header_shows_the_format():
    assert by_header({b"anthropic-version": b"2023-06-01"}) is ANTHROPIC
    assert by_header({b"authorization": b"Bearer x"}) is None


def test_pages_offer_the_formats_that_are_served():
    """Rooms of access know no formats: that theirs are the same is held here."""
    assert set(form.ENDPOINTS) == {each.path for each in FORMATS}
    assert {name for name, _ in PROTOCOLS} == {each.name for each in FORMATS}
    assert len(playground.PROTOCOLS) == len(FORMATS)
