"""One browser and one whole installation, which all modules share."""

import shutil

import pytest

from tests.e2e.whole import start

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WITHOUT_WINDOWS = shutil.which("chromium-headless-shell") or CHROMIUM
"""The same browser, built to have none: a page costs half the CPU. Log-ins at Lingma drive what gateways have."""


@pytest.fixture(scope="session")
def browser():
    if WITHOUT_WINDOWS is None:
        pytest.skip("no Chromium is installed on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=WITHOUT_WINDOWS, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("browsed")


@pytest.fixture(scope="session")
def whole(directory, template):
    """A whole installation. Modules leave in it what they make: each has keys, users and models of its own."""
    with start(directory, template) as running:
        running.complete()
        running.directory = directory
        yield running
