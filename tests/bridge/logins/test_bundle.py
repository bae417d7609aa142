"""Which files make a login, and what is refused."""

import io
import os
import stat
import tracemalloc
import zipfile

import pytest

from bridge.logins import work_dir
from bridge.logins.bundle import LARGEST, LARGEST_EXTRA, BadBundle, Bundle, from_folder, from_zip, of_two
from bridge.logins.work_dir import Held
from tests.bridge.logins.files import write_login


def zipped(files, links=(), method=zipfile.ZIP_DEFLATED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = method
            if name in links:
                member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, content)
    return data.getvalue()


TWO = {"cache/user": b"U", "cache/id": b"I"}


@pytest.mark.parametrize("place", ["", "cache", "secrets/lingma", "secrets/session/cache"])
def test_folder_is_found_wherever_it_is(tmp_path, place):
    write_login(tmp_path / place)
    (tmp_path / "README.md").write_text("not a login")
    assert set(from_folder(tmp_path).files) == set(TWO)


def test_work_dir_leaves_database_out(tmp_path):
    write_login(tmp_path / "cache")
    (tmp_path / "cache" / "db").mkdir()
    (tmp_path / "cache" / "db" / "local.db").write_text("token")
    (tmp_path / "cache" / "quota").write_text("Q")
    (tmp_path / "cache" / "user.9.tmp").write_text("half")
    os.symlink("/etc/passwd", tmp_path / "cache" / "policy")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "lingma.log").write_text("log")
    assert set(from_folder(tmp_path).files) == {*TWO, "cache/quota"}


def test_nearest_login_of_a_work_dir_counts(tmp_path):
    write_login(tmp_path / "cache")
    write_login(tmp_path / "vscode" / "sharedClientCache" / "cache", name="other")
    (tmp_path / "cache" / "model.bin").write_bytes(bytes(LARGEST_EXTRA + 1))
    bundle = from_folder(tmp_path)
    assert set(bundle.files) == set(TWO)
    assert b"alice" in bundle.files["cache/user"]
    files = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert from_zip(zipped(files)) == bundle
    (tmp_path / "secrets").mkdir()
    archive = tmp_path / "secrets" / "bundle.zip"
    archive.write_bytes(zipped({f"lingma/{name}": content for name, content in files.items()}))
    assert from_folder(archive) == from_folder(tmp_path / "secrets") == bundle


def test_folder_without_or_with_several_is_refused(tmp_path):
    with pytest.raises(BadBundle, match="no folder with the files user and id"):
        from_folder(tmp_path)
    write_login(tmp_path / "a")
    write_login(tmp_path / "b")
    with pytest.raises(BadBundle, match="several logins"):
        from_folder(tmp_path)


def test_links_and_pipes_are_not_read(tmp_path):
    write_login(tmp_path)
    (tmp_path / "user").unlink()
    os.symlink("/etc/passwd", tmp_path / "user")
    with pytest.raises(BadBundle, match="user cannot be read"):
        from_folder(tmp_path)
    (tmp_path / "user").unlink()
    os.mkfifo(tmp_path / "user")
    with pytest.raises(BadBundle, match="no plain file"):
        from_folder(tmp_path)


def test_large_files_are_refused(tmp_path):
    write_login(tmp_path)
    (tmp_path / "user").write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(BadBundle, match="at most 8 MiB"):
        from_folder(tmp_path)
    with pytest.raises(BadBundle, match="at most 8 MiB"):
        from_zip(zipped({"user": b"\0" * (LARGEST + 1), "id": b"I"}))


@pytest.mark.parametrize("prefix", ["", "cache/", "work/cache/", "secrets/"])
def test_zip_of_any_folder_is_read(prefix):
    files = {f"{prefix}user": b"U", f"{prefix}id": b"I", f"{prefix}db/local.db": b"D", "other.txt": b"O"}
    assert from_zip(zipped(files)).files == TWO


@pytest.mark.parametrize(
    "data",
    [
        b"", b"PK\3\4 no archive", zipped({}), zipped({"user": b"U"}), zipped({"../user": b"U", "../id": b"I"}),
        zipped({"/cache/user": b"U", "/cache/id": b"I"}), zipped({**TWO, "a/user": b"U", "a/id": b"I"}),
        zipped(TWO, links={"cache/user"}), zipped({"cache/user": b" ", "cache/id": b"I"}),
        zipped({**TWO, "cache\\..\\x": b""}), zipped({**TWO, "": b""}),
    ],
)  # fmt: skip
def test_other_zips_are_refused(data):
    with pytest.raises(BadBundle):
        from_zip(data)


def test_bundle_shows_nothing_of_itself():
    bundle = of_two(b"token-of-alice", b"machine")
    assert "alice" not in f"{bundle!r} {bundle}"
    assert Bundle.unpacked(bundle.packed()) == bundle
    with pytest.raises(BadBundle):
        Bundle.unpacked(b"damaged")


def test_login_is_put_for_owner_alone(tmp_path):
    bundle = of_two(b"U", b"I")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "user").write_text("another")
    work_dir.put(tmp_path, bundle, Held(7, 2, bundle.digest))
    assert work_dir.read(tmp_path, ()) == bundle
    assert work_dir.held_in(tmp_path) == Held(7, 2, bundle.digest)
    assert {stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "cache").iterdir()} == {0o600}
    work_dir.remove(tmp_path, work_dir.held_in(tmp_path).files)
    assert work_dir.held_in(tmp_path) is None
    assert not list((tmp_path / "cache").iterdir())


def test_damaged_note_of_a_login_is_none(tmp_path):
    """Else the instance would never start again."""
    (tmp_path / work_dir.NOTE).write_bytes(b'{"login": 7, "generation": 2, "digest": "\xff"}')
    assert work_dir.held_in(tmp_path) is None


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packing_without_a_bound_is_refused(method):
    data = zipped({"cache/user": bytes(LARGEST + 1), "cache/id": b"I"}, method=method)
    tracemalloc.start()
    try:
        with pytest.raises(BadBundle, match="no ZIP archive that can be read"):
            from_zip(data)
        assert tracemalloc.get_traced_memory()[1] < LARGEST
    finally:
        tracemalloc.stop()
