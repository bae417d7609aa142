"""The errors of the private side are drawn as they are."""

import re

from bridge.lingma import errors
from bridge.lingma.errors import LingmaError, UploadFailed


def family(kind):
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def test_tree_is_drawn_as_it_is():
    drawn = set(re.findall(r"── (\w+)", errors.__doc__)) | {"LingmaError"}
    assert {kind.__name__ for root in (LingmaError, UploadFailed) for kind in family(root)} | {
        "UpstreamFailed"
    } == drawn


def test_tree_stands_in_one_file():
    assert {kind.__module__ for root in (LingmaError, UploadFailed) for kind in family(root)} == {errors.__name__}
