"""Addresses of pages that are looked up once."""

import pytest
from django.urls import NoReverseMatch, reverse, set_script_prefix

from gateway_project.lib.pages.paths import path_lazy, path_of

NAMES = ["usage", "usage_rows", "admin:index", "admin:accounts_apikey_changelist"]


@pytest.fixture
def below():
    yield set_script_prefix
    set_script_prefix("/")


@pytest.mark.parametrize("name", NAMES)
def test_path_is_that_of_the_page(name):
    lazily = path_lazy(name)
    for _ in range(2):
        assert path_of(name) == str(lazily) == reverse(name)


def test_path_follows_the_prefix_of_the_site(below):
    lazily = path_lazy("usage")
    assert (path_of("usage"), str(lazily)) == ("/usage/", "/usage/")
    below("/gateway/")
    assert (path_of("usage"), str(lazily)) == ("/gateway/usage/", "/gateway/usage/")


def test_unknown_page_is_unknown_again():
    for _ in range(2):
        with pytest.raises(NoReverseMatch):
            path_of("no-such-page")
