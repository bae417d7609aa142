"""The image's steps, replayed without an engine: the Dockerfile's own commands in a fresh folder, as its own user."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import uv
from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import until
from tests.gateway_project.gateway import ROOT
from tests.ports import free_port

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="the image's user can be taken on by root alone"),
    pytest.mark.timeout(1200),  # it installs everything anew; where uv cannot, that is 90 s of CPU
]
KEY = "lgw_a_key_of_the_replayed_image"
UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|ConnectionResetError|name resolution"
)
USER = 10001


def instructions():
    """(stage, name, text) of each instruction of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (ROOT / "docker/Dockerfile").read_text(), flags=re.MULTILINE)
    stage = ""
    for line in text.replace("\\\n", " ").splitlines():
        name, _, rest = line.partition(" ")
        stage = rest.split()[-1] if name == "FROM" else stage
        if name:
            yield stage, name, rest.strip()


def of(stage, name):
    return [rest for where, what, rest in instructions() if (where, what) == (stage, name)]


def copy_context(app):
    """What Dockerfile.dockerignore keeps."""
    kept = re.findall(r"^!(\S+)$", (ROOT / "docker/Dockerfile.dockerignore").read_text(), re.MULTILINE)
    left_out = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in kept:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, app / name, ignore=left_out, dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / name, app / name)


def copy_python(folder):
    """The Python of the tests, in the place of the base image's: its own may be where other users cannot come."""
    name = f"python3.{sys.version_info.minor}"
    if sys.base_prefix == "/usr":  # there they can
        (folder / "bin").mkdir(parents=True)
        name = f"/usr/bin/{name}"
    else:
        left_out = shutil.ignore_patterns("site-packages", "test", "__pycache__", "share", "include")
        shutil.copytree(sys.base_prefix, folder, ignore=left_out, symlinks=True)
        # It looks for its library beside itself, and not where it was built.
        built, beside = f"{sys.base_prefix}/lib\0".encode(), b"$ORIGIN/../lib\0"
        program = folder / "bin" / name
        program.write_bytes(program.read_bytes().replace(built, beside.ljust(len(built), b"\0")))
    program = folder / "bin/python"
    program.unlink(missing_ok=True)
    program.symlink_to(name)


PIP = ".venv/bin/python -m pip install"
QUICKLY = f"{shlex.quote(str(uv.UV))} pip install --python .venv/bin/python --link-mode copy"
PASSED_ON = ("PIP_", "UV_", "HTTP", "http", "SSL")


def run(step, app):
    """One RUN. What pip installs in it is installed by uv; by pip where that cannot have it."""
    # An image keeps no cache; here it spares the registry and minutes.
    command = step.replace(" --no-cache-dir", "")
    if PIP in command and shell(command.replace(PIP, QUICKLY), app).returncode == 0:
        return
    done = shell(command, app)
    if done.returncode and PIP in command and UNREACHABLE.search(done.stderr):
        pytest.skip("PyPI does not answer")
    assert done.returncode == 0, done.stderr[-3000:]


def shell(command, app):
    environment = {"HOME": "/root", "PIP_RETRIES": "1"} | {
        name: value for name, value in uv.environment().items() if name == "HOME" or name.startswith(PASSED_ON)
    }
    environment["PATH"] = f"{app.parent}/python/bin:/usr/bin:/bin"
    return subprocess.run(["sh", "-ec", command], cwd=app, env=environment, capture_output=True, text=True, timeout=550)


@pytest.fixture(scope="module")
def image():
    """The folder `/app` of the image, which belongs to root, and a `/data` of its user."""
    # Not below pytest's own folder, which another user cannot enter.
    root = Path(tempfile.mkdtemp(prefix="lgw-image-"))
    app, data = root / "app", root / "data"
    copy_python(root / "python")
    (app / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "requirements/run.txt", app / "requirements")
    try:
        for stage in ("libraries", "code"):
            if stage == "code":
                copy_context(app)
            for step in of(stage, "RUN"):
                run(step, app)
        subprocess.run(["chmod", "-R", "go=rX", root], check=True, timeout=60)
        (data / "secrets").mkdir(parents=True)
        for each in (data, data / "secrets"):
            each.chmod(0o700)
            os.chown(each, USER, USER)
        yield SimpleNamespace(app=app, data=data, port=free_port())
    finally:
        shutil.rmtree(root, ignore_errors=True)


def here(image, text):
    return (
        text.replace("/app/", f"{image.app}/").replace("=/data", f"={image.data}").replace(":8317/", f":{image.port}/")
    )


def variables(image):
    """ENV of the image, and what whoever runs it gives."""
    [line] = of("base", "ENV")
    own = dict(each.split("=", 1) for each in shlex.split(here(image, line)))
    given = {"PORT": str(image.port), "API_KEYS": KEY, "ADMIN_PASSWORD": "a good one", "DRAIN_SEC": "5"}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **own, **given}


def started(image):
    [entry] = of("base", "ENTRYPOINT")
    command = json.loads(here(image, entry))
    assert command[:2] == ["tini", "--"]  # an init, which not every machine has
    return subprocess.Popen(
        command[0 if shutil.which("tini") else 2 :], cwd=image.app, env=variables(image), user=USER, group=USER,
        extra_groups=[], umask=0o022, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def health(image):
    """The exit code of the image's own check."""
    check = next(rest for _, name, rest in instructions() if name == "HEALTHCHECK")
    command = json.loads(here(image, check[check.index("[") :]))
    return subprocess.run(
        command, env=variables(image), user=USER, group=USER, extra_groups=[], capture_output=True, timeout=30
    ).returncode


def listing(folder):
    """What would show that something was written there."""
    found = {}
    for directory, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(directory, name))
            found[os.path.join(directory, name)] = (status.st_mtime_ns, status.st_size, status.st_uid)
    return found


def strays(image):
    """Files of the image's user in places that all may write to; a container's are its own."""
    return {str(path) for top in ("/tmp", "/var/tmp", "/dev/shm") for path in Path(top).iterdir()
            if path.lstat().st_uid == USER and not path.is_relative_to(image.app.parent)}  # fmt: skip


def test_image_serves_and_writes_to_data_alone(image):
    assert of("gateway", "USER") == [f"{USER}:{USER}"]
    before, elsewhere = listing(image.app), strays(image)
    process = started(image)
    try:
        # Asked at leisure, as an engine does: each question is a Python that starts.
        assert until(lambda: process.poll() is not None or health(image) == 0, 400, every=0.5)
        assert process.poll() is None, process.stdout.read()
        body = OPENAI.body("[[sim: text=hello]] x", stream=False)
        answer = until(
            lambda: (found := send(image, "POST", OPENAI.path, key=KEY, body=body)).status == 200 and found, 90
        )
        assert b"hello" in answer.body
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=90)
        assert process.returncode == 0, output
        assert "Lingma gateway, ready" in output
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(30)
    assert listing(image.app) == before
    assert {uid for *_, uid in before.values()} == {0}
    assert strays(image) == elsewhere
    assert (image.data / "gateway.sqlite3").exists()


def test_image_loads_compiled_code_alone(image):
    compiled = {path.parent.parent for path in image.app.glob("*/__pycache__/*.pyc")} - {image.app}
    packages = {path.parent for path in image.app.glob("*/__init__.py")}
    assert packages
    assert packages <= compiled
