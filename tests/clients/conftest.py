"""Clients, gateways to drive them against, and the table of what went upstream."""

from contextlib import ExitStack

import pytest

from tests.clients import install
from tests.clients.task import Folder
from tests.directories import copy, made_once
from tests.e2e.installation import Gateway, prepare

SIZES = "bytes upstream"


def pytest_collection_modifyitems(items):
    for item in items:
        if "/tests/clients/" in str(item.path):
            item.add_marker(pytest.mark.clients)
            item.add_marker(pytest.mark.timeout(2 * install.QUICK + 60))  # the first of them installs


def available(clients):
    try:
        return clients()
    except install.Unavailable as exc:
        pytest.skip(f"{exc}; `make test-clients` installs the clients with patience")


@pytest.fixture(scope="session")
def node_clients():
    """The folder of the npm packages."""
    return available(install.node_clients)


@pytest.fixture(scope="session")
def aider():
    """The executable."""
    return available(install.aider)


@pytest.fixture(scope="session")
def suites():
    """The Python that has other projects' test suites."""
    return available(install.suites)


@pytest.fixture(scope="session")
def gateways(tmp_path_factory, migrated):
    """Start each gateway when it is asked for first; they are gone in the end."""
    template = made_once(tmp_path_factory, "template", lambda directory: prepare(copy(migrated, directory)))
    running = {}
    with ExitStack() as stack:

        def get(reuse):
            if reuse not in running:
                settings = {"SESSION_REUSE_WITH_TOOLS": str(reuse).lower()}
                gateway = Gateway(tmp_path_factory.mktemp("gateway"), template, **settings)
                running[reuse] = stack.enter_context(gateway)
            return running[reuse]

        yield get
    assert [each for gateway in running.values() for each in gateway.left_behind] == []


@pytest.fixture(params=[True, False], ids=["reuse", "whole"])
def reuse(request):
    """Whether sessions go on when there are tools."""
    return request.param


@pytest.fixture
def gateway(gateways, reuse):
    return gateways(reuse)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


@pytest.fixture
def report(record_property, reuse):
    """Put the rounds of a client into the table."""
    return lambda name, seen: record_property(SIZES, (name, reuse, [each.size for each in seen]))


def pytest_terminal_summary(terminalreporter):
    told = [value for report in terminalreporter.getreports("passed") for name, value in report.user_properties
            if name == SIZES]  # fmt: skip
    if not told:
        return
    terminalreporter.section("bytes sent upstream, round by round")
    for client, reuse, sizes in sorted(told, key=lambda row: (row[0], not row[1])):
        how = "sessions reused" if reuse else "whole history"
        cells = "".join(f"{size:>9,}" for size in sizes)
        terminalreporter.line(f"{client:<34} {how:<16}{cells}   sum{sum(sizes):>9,}")
