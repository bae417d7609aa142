"""The executable out of archives made here: found, unpacked once, refused when it looks like an attack."""

import contextlib
import gzip
import hashlib
import io
import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bridge.lingma.install import download, vsix
from bridge.lingma.install.vsix import VsixError, find, this_platform, unpack
from gateway_project.env import BASE_DIR

HERE = this_platform()
LONG = "2." + "1" * 5000


def zipped(files):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            # Without the time: the same files make the same archive.
            member = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            member.external_attr = member.external_attr or 0o600 << 16
            target.writestr(member, content, member.compress_type or zipfile.ZIP_DEFLATED)
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
def test_whole_machine_directory_is_unpacked_and_executable(source, into, wrap):
    files = {f"2.11.1/{HERE}/Lingma": "a", f"2.11.1/{HERE}/lib/data.bin": "b", "2.11.1/other_os/Lingma": "c"}
    executable = unpack(source(wrap(packed(files))), into)
    assert executable == find(into) == into / "2.11.1" / HERE / "Lingma"
    assert (executable.parent / "lib" / "data.bin").read_text() == "b"
    assert executable.stat().st_mode & stat.S_IXUSR
    assert not (into / "2.11.1" / "other_os").exists()
    assert leftovers(into) == []


def test_highest_version_is_the_highest_number(source, into):
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


def test_changed_vsix_of_same_version_is_unpacked_anew(source, into):
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


def test_callers_at_once_get_the_same_executable(source, into):
    path = source(packed())
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: unpack(path, into), range(8)))
    assert {each.read_text() for each in found} == {"lingma 2.11.1"}
    assert leftovers(into) == []


def test_leftovers_of_a_dead_process_are_cleared_away(source, into):
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


def test_a_tree_too_deep_to_delete_is_refused(source, into):
    folders = {f"2.11.1/{HERE}/{'a/' * depth}b": "" for depth in range(300, 1801, 300)}
    with pytest.raises(VsixError, match="refused"):
        unpack(source(packed({f"2.11.1/{HERE}/Lingma": "a", **folders})), into)
    assert leftovers(into) == []
    assert unpack(source(packed()), into).is_file()


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


def test_list_of_files_without_end_is_refused(source, into, monkeypatch):
    content = packed({f"2.11.1/{HERE}/Lingma": "a", **{f"2.11.1/{HERE}/{number}": "" for number in range(300)}})
    monkeypatch.setattr(vsix, "LARGEST_DIRECTORY", 8 << 10)
    with pytest.raises(VsixError, match="files allowed here"):
        unpack(source(content), into)
    assert leftovers(into) == []


def test_archive_without_room_is_not_unpacked(source, into, monkeypatch):
    monkeypatch.setattr(vsix, "RESERVE", 1 << 60)
    with pytest.raises(VsixError, match="no room in DATA_DIR"):
        unpack(source(packed()), into)
    assert leftovers(into) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "damaged or no VSIX"),
        (packed()[:-40], "damaged or no VSIX"),
        (gzip.compress(packed())[:-40], "damaged or no VSIX"),
        (zipped({"extension/package.json": "{}"}), "there is no extension/dist/bin"),
        (packed({"2.11.1/m68k_amiga/Lingma": "a"}), f"no Lingma for {HERE}, but for m68k_amiga"),
        (packed({f"2.11.1/{HERE}/Other": "a"}), "there is no Lingma in"),
        (packed({f"{LONG}/{HERE}/Lingma": "a"}), f"no Lingma for {HERE}, but for no platform"),
        (packed(version=LONG), "there is no extension/dist/bin"),
        (packed({f"2.{chr(0x661)}/{HERE}/Lingma": "a"}), f"no Lingma for {HERE}, but for no platform"),
        (zipped({"é": "a"}).replace("é".encode(), b"\xff\xff"), "damaged or no VSIX"),
    ],
    ids=[
        "text",
        "cut",
        "cut_gzip",
        "nothing_in_it",
        "another_machine",
        "another_name",
        "long_version",
        "long_name",
        "other_digits",
        "no_text",
    ],
)
def test_unusable_vsix_is_refused_in_one_line(source, into, content, message):
    with pytest.raises(VsixError, match=message) as refusal:
        unpack(source(content), into)
    assert "\n" not in str(refusal.value)


def test_broken_new_vsix_keeps_the_old_one(source, into):
    unpack(source(packed()), into)
    with pytest.raises(VsixError):
        unpack(source(b"broken"), into)
    assert find(into).read_text() == "lingma 2.11.1"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def server():
    """Serve `body` and count who asks."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked += 1
            if self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", self.server.moved)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
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
        server.digest = sha256(server.body)
        server.url = f"http://127.0.0.1:{server.server_port}/lingma.vsix"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_a_url_is_fetched_once(server, into):
    assert unpack(server.url, into, server.digest).read_text() == "lingma 2.11.1"
    assert unpack(server.url, into, server.digest) == find(into)
    assert server.asked == 1
    unpack(f"{server.url}?version=other", into, server.digest)
    assert server.asked == 2


def test_failed_download_shows_where_but_no_secret(server, into):
    with pytest.raises(VsixError, match="Not Found") as refusal:
        unpack(server.url.replace("lingma.vsix", "other.vsix?token=canary"), into, server.digest)
    assert "canary" not in str(refusal.value)
    server.missing = 7
    with pytest.raises(VsixError, match="broke off"):
        unpack(server.url, into, server.digest)


def test_download_ends_when_complete_despite_open_connection(server, into):
    server.stalls = True
    try:
        assert unpack(server.url, into, server.digest).is_file()
    finally:
        server.released.set()


@pytest.mark.parametrize("bound", ["SILENCE_SEC", "DOWNLOAD_SEC"])
def test_slow_download_is_given_up(server, into, monkeypatch, bound):
    monkeypatch.setattr(download, bound, 0.05 if bound == "SILENCE_SEC" else -1)
    server.stalls, server.missing = True, 1
    try:
        with pytest.raises(VsixError, match=r"fetched"):
            unpack(server.url, into, server.digest)
    finally:
        server.released.set()
    assert leftovers(into) == []


@pytest.mark.parametrize("wrap", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_file_must_match_its_digest(source, into, wrap):
    content = packed()
    path = source(wrap(content))
    for other in (sha256(b"other"), "0" * 64):
        with pytest.raises(VsixError, match=f"another file than the digest says.*{sha256(content)}"):
            unpack(path, into, other)
    assert not (into / "2.11.1").exists()
    assert unpack(path, into, sha256(content)).read_text() == "lingma 2.11.1"


def test_another_digest_has_the_file_looked_at_again(source, into):
    path = source(packed())
    unpack(path, into)
    assert not vsix.is_unpacked(path, into, "0" * 64)
    with pytest.raises(VsixError, match="another file"):
        unpack(path, into, "0" * 64)


def test_download_must_match_its_digest(server, into):
    with pytest.raises(VsixError, match="another file"):
        unpack(server.url, into, "0" * 64)
    assert leftovers(into) == []
    assert unpack(server.url, into, sha256(packed())).is_file()  # the digest of what the gzip holds will do


def test_plain_http_is_refused_without_a_digest(server, into):
    with pytest.raises(VsixError, match="plain http may bring anything"):
        unpack(server.url, into)
    assert server.asked == 0


def test_user_in_url_is_named_wrong_and_hidden(server, into):
    with pytest.raises(VsixError, match="a user or password in a URL is not supported") as caught:
        unpack(server.url.replace("//", "//alice:canary@"), into, server.digest)
    assert "canary" not in str(caught.value)
    assert server.asked == 0


@pytest.mark.parametrize("where", ["ftp://127.0.0.1/lingma.vsix", "file:///etc/passwd", "data://x", "gopher://x"])
@pytest.mark.parametrize("redirected", [False, True])
def test_other_schemes_are_refused_also_behind_a_redirect(server, into, where, redirected):
    server.moved = where
    url = server.url.replace("lingma.vsix", "moved") if redirected else where
    with pytest.raises(VsixError, match=r"not supported; use https|is not allowed"):
        unpack(url, into, server.digest)


def test_http_redirect_is_followed_with_a_digest(server, into):
    server.moved = server.url
    assert unpack(server.url.replace("lingma.vsix", "moved"), into, server.digest).is_file()


@pytest.fixture
def secure(server, tmp_path, monkeypatch):
    """The same server over TLS, by a certificate that is believed here."""
    key, certificate = certificate_for_loopback()
    (tmp_path / "server.pem").write_bytes(key + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    with ThreadingHTTPServer(("127.0.0.1", 0), server.RequestHandlerClass) as tls:
        tls.socket = context.wrap_socket(tls.socket, server_side=True)
        tls.body, tls.asked, tls.missing, tls.stalls, tls.moved = server.body, 0, 0, False, server.url
        tls.url = f"https://127.0.0.1:{tls.server_port}/lingma.vsix"
        threading.Thread(target=tls.serve_forever, args=(0.01,), daemon=True).start()
        yield tls
        tls.shutdown()


def certificate_for_loopback():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, *plain), built.public_bytes(serialization.Encoding.PEM)


def test_https_needs_no_digest(secure, into):
    assert unpack(secure.url, into).read_text() == "lingma 2.11.1"


@pytest.mark.parametrize("digest", [True, False])
def test_redirect_from_https_to_http_is_refused(server, secure, into, digest):
    with pytest.raises(VsixError, match=r"from https to http|plain http"):
        unpack(secure.url.replace("lingma.vsix", "moved"), into, server.digest if digest else "")
    assert server.asked == 0


def test_a_certificate_that_nobody_vouches_for_is_refused(secure, into, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(VsixError, match="certificate verify failed"):
        unpack(secure.url, into)


@pytest.mark.parametrize("seconds", [0.3, 0.0], ids=["drips on", "connected too late"])
def test_server_that_drips_is_cut_off(into, monkeypatch, seconds):
    """Each byte comes in time, and the answer never ends."""
    monkeypatch.setattr(download, "DOWNLOAD_SEC", seconds)
    gone = threading.Event()

    def drip(listener):
        peer, _ = listener.accept()
        with peer, contextlib.suppress(OSError):
            peer.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not gone.wait(0.02):
                peer.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        with pytest.raises(VsixError, match=f"within {seconds:g} s"):
            unpack(f"http://127.0.0.1:{listener.getsockname()[1]}/x", into, "0" * 64)
        gone.set()
        thread.join()


def simulator(directory, version="2.11.1"):
    """A VSIX whose Lingma is the bundled simulator, logged in."""
    root = BASE_DIR
    run = f'PYTHONPATH="{root}" exec "{sys.executable}" -m bridge.simulator'
    script = f'#!/bin/sh\n{run} "$@" --login=auto --version-string={version}\n'
    path = directory / "simulator.vsix"
    path.write_bytes(packed({f"{version}/{HERE}/Lingma": script}, version))
    return path


def test_the_unpacked_executable_runs(tmp_path, into):
    executable = unpack(str(simulator(tmp_path)), into)
    done = subprocess.run([executable, "version"], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.startswith("version: ")
