"""Other projects' test suites, run as theirs in an environment of their own against one gateway."""

import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from accounts.keys.snippets import setups
from tests.e2e.installation import KEY

FOREIGN = Path(__file__).parent / "foreign"
OPTIONS = (
    "-c", os.devnull, "--rootdir=.", "--confcutdir=.", "-p", "no:cacheprovider", "-p", "obedience", "-q",
    "-o", "python_files=*_suite.py", "-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session",
    "-o", "asyncio_default_fixture_loop_scope=session", "--timeout=60",
)  # fmt: skip

# Suite → how many of its tests pass at least, and which cannot, with the reason it gives itself.
SUITES = {
    "langchain": (
        140,
        {
            # Measures against recordings of a service's answers.
            **{f"{name}.test_stream_time": "VCR not set up."
               for name in ("TestChat", "TestResponses", "TestAnthropic")},
            # Each is of the other protocol.
            **{f"{name}.test_anthropic_inputs": "Model does not explicitly support Anthropic inputs."
               for name in ("TestChat", "TestResponses")},
            "TestAnthropic.test_audio_inputs": "Model does not support audio inputs.",
            "TestAnthropic.test_json_mode": "Test requires json mode support.",
            # OpenAI's APIs take no documents in results of tools.
            **{f"{name}.test_pdf_tool_message": "Model does not support PDF tool message."
               for name in ("TestChat", "TestResponses")},
        },
    ),
    "agents": (10, {}),
    "instructor": (14, {}),
    "schemathesis": (12, {}),
}  # fmt: skip


def outcomes(report):
    """(passed, failures, reasons of what was skipped) of a run."""
    passed, failed, skipped = 0, [], {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname').rpartition('.')[2]}.{case.get('name')}"
        trouble, skip = case.find("failure"), case.find("skipped")
        trouble = case.find("error") if trouble is None else trouble
        if trouble is not None:
            failed.append(f"{name}: {trouble.text[-1500:]}")
        elif skip is not None:
            skipped[re.sub(r"\[.*", "", name)] = skip.get("message").removeprefix("Skipped: ")
        else:
            passed += 1
    return passed, failed, skipped


def environ_of(suites, home):
    known = ("PATH", "LANG", "TMPDIR")
    return {name: os.environ[name] for name in known if name in os.environ} | {
        "HOME": str(home), "PYTHONPYCACHEPREFIX": str(suites.parents[1] / "bytecode"), "LANGSMITH_TRACING": "false",
    }  # fmt: skip


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("reuse", [True], indirect=True, ids=["reuse"])
def test_a_foreign_suite_passes_but_for_what_cannot(suite, suites, gateway, tmp_path):
    least, cannot = SUITES[suite]
    environ = environ_of(suites, tmp_path) | {
        "PYTHONPATH": str(FOREIGN), "GATEWAY_KEY": KEY, "GATEWAY_BASE": f"http://127.0.0.1:{gateway.port}",
        "SIMULATOR_CONTROL": str(gateway.work_dir() / "simulator.json"),
    }  # fmt: skip
    report = tmp_path / "report.xml"
    command = [suites, "-m", "pytest", f"{suite}_suite.py", f"--junitxml={report}", *OPTIONS]
    try:
        done = subprocess.run(
            command, cwd=FOREIGN, env=environ, capture_output=True, text=True, check=False, timeout=240
        )
    finally:
        gateway.control()
    assert report.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    passed, failed, skipped = outcomes(report)
    assert failed == []
    assert skipped == cannot
    assert passed >= least


@pytest.mark.parametrize("reuse", [True], indirect=True, ids=["reuse"])
def test_shown_setup_of_langchain_runs(suites, gateway, tmp_path):
    """As somebody pastes it into a Python that has langchain-openai."""
    shown = {each.client: each.text for each in setups(f"http://127.0.0.1:{gateway.port}", KEY, "org_auto")}
    done = subprocess.run(
        [suites, "-"], input=shown["LangChain"], cwd=tmp_path, env=environ_of(suites, tmp_path), capture_output=True,
        text=True, check=False, timeout=240,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "Hello" in done.stdout
