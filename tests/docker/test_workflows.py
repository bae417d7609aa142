"""What runs at the host of the repository: the same command as everywhere, with few rights."""

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from bridge.version import VERSION

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.stem: path for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")


def jobs(name):
    return yaml.safe_load(WORKFLOWS[name].read_text())["jobs"]


def steps(job):
    return job.get("steps", [])


def test_checks_are_the_ones_of_a_clean_clone():
    commands = [step["run"] for step in steps(jobs("ci")["test"]) if "run" in step]
    assert [command.split()[-1] for command in commands] == [".ci/run"]


def made_by_checks():
    return re.findall(r"passes (test[a-z-]*)", (ROOT / ".ci" / "run").read_text().splitlines()[-1])


def test_clients_are_installed_before_trials_use_them():
    targets = set(re.findall(r"^(test[a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = made_by_checks()
    assert set(made) == targets - {"test-unit", "test-postgresql"}  # parts of `make test`
    assert made.index("test-clients") < made.index("test-trials")


def test_format_and_types_are_checked_too():
    assert [step["run"] for step in steps(jobs("ci")["lint"]) if "run" in step] == ["make lint"]


def test_checks_reach_the_version_before():
    [checkout] = [step for step in steps(jobs("ci")["test"]) if "actions/checkout" in step.get("uses", "")]
    assert checkout["with"]["fetch-depth"] == 0  # else tests/trials/test_older_code.py has no older code


def test_examples_are_the_same_each_time():
    profile = re.search(r"^export HYPOTHESIS_PROFILE=(\w+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)[1]
    [command] = [step for step in steps(jobs("ci")["postgresql"]) if "run" in step]
    assert command["env"]["HYPOTHESIS_PROFILE"] == profile


def test_tests_run_again_on_postgresql():
    job = jobs("ci")["postgresql"]
    [command] = [step for step in steps(job) if "run" in step]
    url = urlsplit(command["env"]["LGW_TEST_DATABASE_URL"])
    [server] = job["services"].values()
    assert (command["run"], url.username) == ("make test", server["env"]["POSTGRES_USER"])
    assert [f"{url.port}:5432"] == server["ports"]
    compose = yaml.safe_load((ROOT / "docker/compose.full.yaml").read_text())
    assert server["image"] == compose["services"]["database"]["image"]  # the one that is shipped


def updates():
    """What dependabot looks after: (kind, the files that it reads)."""
    read = {"pip": "*.txt", "github-actions": ".github/workflows/*.yml", "docker": "Dockerfile",
            "docker-compose": "compose.*.yaml", "npm": "package-lock.json"}  # fmt: skip
    listed = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    folders = [(each["package-ecosystem"], ROOT / each["directory"].strip("/")) for each in listed]
    return {kind: sorted(folder.glob(read[kind])) for kind, folder in folders}


def test_updates_are_looked_for_where_files_are():
    found = updates()
    assert {kind for kind, files in found.items() if not files} == set()
    assert set(found["github-actions"]) == set(WORKFLOWS.values())
    assert set(found["docker-compose"]) == set((ROOT / "docker").glob("*compose*"))
    assert found["docker"] == [path for path in (ROOT / "docker").rglob("Dockerfile*") if path.suffix == ""]


def test_release_needs_the_tests():
    assert jobs("release")["test"] == {"uses": "./.github/workflows/ci.yml"}
    assert (jobs("release")["image"]["needs"], jobs("release")["notes"]["needs"]) == ("test", "image")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_by_commit(name):
    used = re.findall(r"uses: (?!\./)(.*)", WORKFLOWS[name].read_text())
    assert used
    assert [each for each in used if not PINNED.fullmatch(each)] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_read_unless_a_job_says_more(name):
    assert yaml.safe_load(WORKFLOWS[name].read_text())["permissions"] == {"contents": "read"}
    assert {job for job, each in jobs(name).items() if "steps" in each and "timeout-minutes" not in each} == set()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_scripts_have_no_expressions(name):
    """Whoever chooses a branch's name would choose what runs."""
    scripts = [step["run"] for job in jobs(name).values() for step in steps(job) if "run" in step]
    assert [script for script in scripts if "${{" in script] == []


def run(script, folder, tag):
    environment = {"PATH": "/usr/bin:/bin", "GITHUB_REF_NAME": tag}
    return subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=environment, check=False).returncode


def script_of(job, words):
    return next(step["run"] for step in steps(jobs("release")[job]) if words in step.get("name", ""))


def test_tag_that_is_not_the_version_is_refused():
    script = script_of("image", "the version of the code")
    assert (run(script, ROOT, f"v{VERSION}"), run(script, ROOT, "v9.9.9")) == (0, 1)


@pytest.mark.parametrize("page", ["docs/production.md", "docs/zh/production.md"])
def test_signature_is_verified_as_it_is_made(page):
    text = (ROOT / page).read_text().replace("\\\n", " ")
    [(issuer, identity, image)] = re.findall(
        r"^cosign verify --certificate-oidc-issuer (\S+) +--certificate-identity (\S+) +(\S+)$", text, re.MULTILINE
    )
    assert issuer == "https://token.actions.githubusercontent.com"  # of id-token
    signed = [job for job in jobs("release").values() for step in steps(job) if "cosign sign" in step.get("run", "")]
    assert [job["permissions"]["id-token"] for job in signed] == ["write"]
    workflow, _, ref = identity.partition("/.github/workflows/")[2].partition("@")
    assert (ROOT / ".github/workflows" / workflow) == WORKFLOWS["release"]
    assert ref == f"refs/tags/{image.rpartition(':')[2]}"
    assert re.fullmatch(r"refs/tags/v\d+\.\d+\.\d+", ref)


def test_notes_are_the_section_of_the_version(tmp_path):
    changes = (
        "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [0.2.0] - 2026-12-01\n\n- what it has\n\n## [0.1.0]\n\n- old\n"
    )
    (tmp_path / "CHANGELOG.md").write_text(changes)
    script = script_of("notes", "section of this version")
    assert run(script, tmp_path, "v0.2.0") == 0
    assert (tmp_path / "notes.md").read_text().strip() == "- what it has"
    assert run(script, tmp_path, "v0.3.0") == 1
