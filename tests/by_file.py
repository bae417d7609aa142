"""A pytest plugin: with `--dist loadfile` a worker imports and collects the files that it runs, and no others.

xdist has each worker collect all tests, which took longer than the slowest hundred of them. Here a file is one item; on
the worker that is given it, the file becomes its tests.
"""

from itertools import pairwise

import pytest
from _pytest.runner import runtestprotocol


class WholeFile(pytest.File):
    def collect(self):
        yield AllTests.from_parent(self, name="all")


class AllTests(pytest.Item):
    """Stands for the tests of a file until they are run."""

    def runtest(self):
        """Never called: it is `run` in its place."""

    def collected(self):
        module = pytest.Module.from_parent(self.parent.parent, path=self.path)
        tests = list(self.session.genitems(module))
        self.config.hook.pytest_collection_modifyitems(session=self.session, config=self.config, items=tests)
        return tests

    def run(self, nextitem):
        items = self.session.items
        place = items.index(self)
        tests = self.collected()
        for test, following in pairwise([*tests, nextitem]):
            if self.session.shouldfail or self.session.shouldstop:
                break
            items[place] = test  # xdist knows tests by their place
            self.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
        items[place] = self


def _whole_files(config):
    """Not where single tests are chosen: that takes their names and marks."""
    option = config.option
    named = option.deselect or config.getoption("lf", False) or "::" in "".join(config.args)
    chosen = named or option.keyword or option.markexpr
    return getattr(config, "workerinput", {}).get("whole", False) and not chosen


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """A worker has options of its own; xdist's."""
    node.workerinput["whole"] = node.config.getoption("dist") == "loadfile"


def pytest_pycollect_makemodule(module_path, parent):
    return WholeFile.from_parent(parent, path=module_path) if _whole_files(parent.config) else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    if isinstance(item, AllTests):
        item.run(nextitem)
        return True
    if not hasattr(item.config, "workerinput"):
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if _says_something(report, item.config):
            item.ihook.pytest_runtest_logreport(report=report)
    return True


def _says_something(report, config):
    """That a test begins, was set up and taken down is most of what workers send, and nobody reads it."""
    return (
        report.when == "call" or not report.passed or config.option.xmlpath
        or report.duration >= config.option.durations_min
    )  # fmt: skip
