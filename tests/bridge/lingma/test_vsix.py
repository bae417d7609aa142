"""The executable out of archives made here: found, unpacked once, refused when it looks like an attack."""

import gzip
import io
import os
import stat
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bridge.lingma import vsix
from bridge.lingma.vsix import VsixError, find, this_platform, unpack

HERE = this_platform()


def zipped(files):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return archive.getvalue()


def packed(files=None, version="2.11.1"):
    """A VSIX whose inner archive holds these files."""
    inner = zipped(files or {f"{version}/{HERE}/Lingma": f"lingma {version}", f"{version}/{HERE}/LingmaLocal": "local"})
    return zipped({"extension/package.json": "{}", f"extension/dist/bin/lingma-{version}.zip": inner})


@pytest.fixture
def source(tmp_path):
    """Write a VSIX; its path."""

    def write(content):
        path = tmp_path / "lingma.vsix"
        path.write_bytes(content)
        return str(path)

    return write


@pytest.fixture
def into(tmp_path):
    return tmp_path / "binaries"


def leftovers(into):
    return [path.name for path in into.iterdir() if path.name.startswith(vsix.DRAFT)]


@pytest.mark.parametrize("wrap", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_the_whole_directory_of_this_machine_is_unpacked_and_executable(source, into, wrap):
    files = {f"2.11.1/{HERE}/Lingma": "a", f"2.11.1/{HERE}/lib/data.bin": "b", "2.11.1/other_os/Lingma": "c"}
    executable = unpack(source(wrap(packed(files))), into)
    assert executable == find(into) == into / "2.11.1" / HERE / "Lingma"
    assert (executable.parent / "lib" / "data.bin").read_text() == "b"
    assert executable.stat().st_mode & stat.S_IXUSR
    assert not (into / "2.11.1" / "other_os").exists()
    assert leftovers(into) == []


def test_the_highest_version_is_the_highest_number_not_the_last_word(source, into):
    names = ["2.9.0", "2.11.1", "v2.10.0"]
    files = {f"{name}/{HERE}/Lingma": name for name in names}
    assert unpack(source(packed(files)), into).read_text() == "2.11.1"


def test_the_highest_inner_archive_is_taken(source, into):
    inner = {name: zipped({f"{name}/{HERE}/Lingma": name}) for name in ("2.9.0", "2.11.1")}
    outer = zipped({f"extension/dist/bin/lingma-{name}.zip": content for name, content in inner.items()})
    assert unpack(source(outer), into).read_text() == "2.11.1"


def test_a_second_time_does_nothing(source, into):
    path = source(packed())
    unpack(path, into).write_text("touched")
    assert unpack(path, into).read_text() == "touched"
    assert vsix.is_unpacked(path, into)


def test_a_changed_vsix_is_unpacked_anew_even_with_the_same_version(source, into):
    unpack(source(packed()), into)
    changed = source(packed({f"2.11.1/{HERE}/Lingma": "another build"}))
    assert not vsix.is_unpacked(changed, into)
    executable = unpack(changed, into)
    assert executable.read_text() == "another build"
    assert not (executable.parent / "LingmaLocal").exists()


def test_a_deleted_executable_is_unpacked_anew(source, into):
    path = source(packed())
    unpack(path, into).unlink()
    with pytest.raises(VsixError, match="nothing is unpacked"):
        find(into)
    assert unpack(path, into).is_file()


def test_many_at_once_do_not_fight(source, into):
    path = source(packed())
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: unpack(path, into), range(8)))
    assert {each.read_text() for each in found} == {"lingma 2.11.1"}
    assert leftovers(into) == []


def test_what_a_dead_process_left_is_cleared_away(source, into):
    (into / f"{vsix.DRAFT}dead").mkdir(parents=True)
    unpack(source(packed()), into)
    assert leftovers(into) == []


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", f"2.11.1/{HERE}/../../../evil", f"2.11.1\\{HERE}\\evil", "C:/evil"]
)
def test_a_name_that_leads_elsewhere_is_refused(source, into, name):
    with pytest.raises(VsixError, match="refused"):
        unpack(source(packed({f"2.11.1/{HERE}/Lingma": "a", name: "b"})), into)
    assert list(into.rglob("evil")) == []
    assert leftovers(into) == []


def test_an_unusual_packing_is_refused(source, into):
    odd = zipfile.ZipInfo(f"2.11.1/{HERE}/Lingma")
    odd.compress_type = zipfile.ZIP_LZMA
    with pytest.raises(VsixError, match="unusual"):
        unpack(source(packed({odd: "a"})), into)


def test_a_link_is_refused(source, into):
    link = zipfile.ZipInfo(f"2.11.1/{HERE}/LingmaLocal")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(VsixError, match="refused"):
        unpack(source(packed({f"2.11.1/{HERE}/Lingma": "a", link: "/etc/passwd"})), into)


@pytest.mark.parametrize(("bound", "value"), [("MOST_UNPACKED", 1000), ("MOST_PACKED", 100), ("MOST_FILES", 1)])
def test_a_bomb_is_given_up_and_leaves_nothing(source, into, monkeypatch, bound, value):
    monkeypatch.setattr(vsix, bound, value)
    files = {f"2.11.1/{HERE}/Lingma": "a", f"2.11.1/{HERE}/zeros": bytes(100_000)}
    with pytest.raises(VsixError, match="more than"):
        unpack(source(packed(files)), into)
    assert not (into / "2.11.1").exists()
    assert leftovers(into) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no archive", "damaged or no VSIX"),
        (packed()[:-40], "damaged or no VSIX"),
        (gzip.compress(packed())[:-40], "damaged or no VSIX"),
        (zipped({"extension/package.json": "{}"}), "there is no extension/dist/bin"),
        (packed({"2.11.1/m68k_amiga/Lingma": "a"}), f"no Lingma for {HERE}, but for m68k_amiga"),
        (packed({f"2.11.1/{HERE}/Other": "a"}), "there is no Lingma in"),
    ],
)
def test_what_is_no_vsix_for_us_is_refused_in_one_line(source, into, content, said):
    with pytest.raises(VsixError, match=said) as refusal:
        unpack(source(content), into)
    assert "\n" not in str(refusal.value)


def test_a_broken_new_vsix_leaves_the_old_one_unpacked(source, into):
    unpack(source(packed()), into)
    with pytest.raises(VsixError):
        unpack(source(b"broken"), into)
    assert find(into).read_text() == "lingma 2.11.1"


@pytest.fixture
def server():
    """Serve `body` and count who asks."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked += 1
            found = self.path.startswith("/lingma.vsix")
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(self.server.body) + self.server.missing))
            self.end_headers()
            self.wfile.write(self.server.body)
            if self.server.stalls:
                self.server.released.wait(10)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.body, server.asked, server.missing = gzip.compress(packed()), 0, 0
        server.stalls, server.released = False, threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}/lingma.vsix"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_a_url_is_fetched_once(server, into):
    assert unpack(server.url, into).read_text() == "lingma 2.11.1"
    assert unpack(server.url, into) == find(into)
    assert server.asked == 1
    unpack(f"{server.url}?version=other", into)
    assert server.asked == 2


def test_a_failed_download_says_where_but_no_secret(server, into):
    with pytest.raises(VsixError, match="Not Found") as refusal:
        unpack(server.url.replace("lingma.vsix", "other.vsix?token=canary"), into)
    assert "canary" not in str(refusal.value)
    server.missing = 7
    with pytest.raises(VsixError, match="broke off"):
        unpack(server.url, into)


def test_a_download_ends_when_all_is_there_even_if_the_server_keeps_the_line(server, into):
    server.stalls = True
    try:
        assert unpack(server.url, into).is_file()
    finally:
        server.released.set()


@pytest.mark.parametrize("bound", ["SILENCE_SEC", "DOWNLOAD_SEC"])
def test_a_download_that_takes_too_long_is_given_up(server, into, monkeypatch, bound):
    monkeypatch.setattr(vsix, bound, 0.05 if bound == "SILENCE_SEC" else -1)
    server.stalls, server.missing = True, 1
    try:
        with pytest.raises(VsixError, match=r"fetched"):
            unpack(server.url, into)
    finally:
        server.released.set()
    assert leftovers(into) == []


def simulator(directory, version="2.11.1"):
    """A VSIX whose Lingma is the bundled simulator, logged in."""
    root = Path(vsix.__file__).parents[2]
    script = f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" -m bridge.simulator "$@" --login=auto\n'
    path = directory / "simulator.vsix"
    path.write_bytes(packed({f"{version}/{HERE}/Lingma": script}, version))
    return path


def test_the_unpacked_executable_runs(tmp_path, into):
    executable = unpack(str(simulator(tmp_path)), into)
    done = subprocess.run([executable, "version"], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.startswith("version: ")
