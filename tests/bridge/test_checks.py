"""Django's system checks: silent about what is well, and each trouble by its id."""

import io
import os

import pytest
from django.core.checks import run_checks
from django.core.management import call_command

from gateway_project.env import Environment
from tests.prepared import manage


@pytest.fixture
def ids(settings, monkeypatch):
    """The ids of what is found in an environment; Django's settings follow it."""

    def ids(*, deploy=False, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        settings.ENV = env = Environment(_env_file=None)
        settings.DEBUG, settings.ALLOWED_HOSTS = env.debug, env.allowed_hosts
        settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = env.behind_tls
        return {each.id for each in run_checks(include_deployment_checks=deploy) if not each.is_silenced()}

    return ids


def test_plain_installation_has_no_warnings(ids):
    assert ids(deploy=True) == set()


def test_public_installation_behind_tls_has_no_warnings(ids):
    public = {"HOST": "0.0.0.0", "ALLOWED_HOSTS": "gw.example.com"}
    assert ids(deploy=True, **public, CSRF_TRUSTED_ORIGINS="https://gw.example.com") == set()


STRONG = "ytM3vHqJ8dLr0wXkZs5bNf2cPa7gUe1T"


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"LINGMA_BIN": "/nowhere/Lingma"}, {"lingma.E001"}),
        ({"LINGMA_BIN": "/etc/passwd"}, {"lingma.E001"}),
        ({"LINGMA_BIN": "/bin/sh"}, set()),
        ({"LINGMA_BIN": "/nowhere/Lingma", "LINGMA_ATTACH_URLS": "ws://127.0.0.1:1"}, set()),
        ({"LINGMA_VSIX": "/nowhere/lingma.vsix"}, {"lingma.E002"}),
        ({"LINGMA_VSIX": "https://example.com/lingma.vsix"}, set()),
        ({"HOST": "0.0.0.0", "ALLOWED_HOSTS": "gw"}, {"lingma.W001"}),
        ({"HOST": "0.0.0.0", "ALLOWED_HOSTS": "gw", "CSRF_TRUSTED_ORIGINS": "http://gw"}, {"lingma.W001"}),
        ({"HOST": "::", "CSRF_TRUSTED_ORIGINS": "https://gw"}, {"lingma.W002"}),
        ({"HOST": "::", "ALLOWED_HOSTS": "gw", "DEBUG": "true"}, {"lingma.W006"}),
        ({"HOST": "127.0.0.2"}, set()),
        ({"TRUSTED_PROXIES": "*"}, {"lingma.W008"}),
        ({"TRUSTED_PROXIES": "10.0.0.7,0.0.0.0/0"}, {"lingma.W008"}),
        ({"TRUSTED_PROXIES": "10.0.0.7,10.0.0.0/8,::1"}, set()),
        ({"HOST": "localhost", "DEBUG": "true"}, set()),
        ({"SECRET_KEY": "too-short"}, {"lingma.W003"}),
        ({"SECRET_KEY": "a" * 64}, {"lingma.W003"}),
        ({"SECRET_KEY": STRONG}, set()),
        ({"ADMIN_TOKEN": "admin"}, {"lingma.W003"}),
        ({"METRICS_TOKEN": "metrics"}, {"lingma.W003"}),
        ({"TOOL_APPROVAL": "allow"}, {"lingma.W004"}),
        ({"TOOL_APPROVAL": "allow:read_file"}, set()),
        ({"WEB_PROCESSES": "2"}, {"lingma.W005"}),
        ({"WEB_PROCESSES": "2", "PROMETHEUS_MULTIPROC_DIR": "/tmp"}, set()),
    ],
)
def test_a_trouble_has_its_id(ids, variables, found):
    assert ids(**variables) == found


def test_supervised_start_needs_no_metrics_directory(ids, settings, tmp_path):
    (tmp_path / "metrics").mkdir()
    settings.DATA_DIR = tmp_path
    assert ids(WEB_PROCESSES="2") == set()


def test_findings_repeat_no_secret(ids):
    ids(SECRET_KEY="canary", ADMIN_TOKEN="canary")
    errors = io.StringIO()
    call_command("check", stderr=errors)
    assert "SECRET_KEY can be guessed" in errors.getvalue()
    assert "canary" not in errors.getvalue()


def test_production_profile_passes_with_one_check_silenced(tmp_path):
    behind_proxy = {
        "HOST": "0.0.0.0", "ALLOWED_HOSTS": "gw.example.com", "CSRF_TRUSTED_ORIGINS": "https://gw.example.com",
        "TRUSTED_PROXIES": "10.0.0.7", "DATA_DIR": str(tmp_path),
    }  # fmt: skip
    done = manage("check", "--deploy", "--fail-level", "WARNING", env=os.environ | behind_proxy)
    assert (done.returncode, done.stdout) == (0, "System check identified no issues (1 silenced).\n"), done.stderr
