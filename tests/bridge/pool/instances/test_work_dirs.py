"""The two work dirs of an instance."""

import stat

import pytest

from bridge.logins.work_dir import Held, note
from bridge.pool.instances import work_dirs


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("noted", [None, "", "elsewhere", "../i1.b", "\udcff", "i1"])
def test_first_directory_is_used_unless_noted_otherwise(tmp_path, noted):
    first = tmp_path / "i1"
    if noted is not None:
        (tmp_path / "i1.in-use").write_bytes(noted.encode(errors="surrogateescape"))
    assert work_dirs.in_use(first) == first


def test_note_is_found_again(tmp_path):
    first, second = tmp_path / "i1", tmp_path / "i1.b"
    assert (work_dirs.other(first, first), work_dirs.other(first, second)) == (second, first)
    work_dirs.use(first, second)
    assert work_dirs.in_use(first) == second
    work_dirs.use(first, first)
    assert work_dirs.in_use(first) == first
    assert names(tmp_path) == ["i1.in-use"]


def test_clone_has_settings_and_login_alone(tmp_path):
    source, target = tmp_path / "i1", tmp_path / "i1.b"
    write(source, cache__user="u", cache__id="i", cache__config_json="{}", extension__local__mcp_json="{}")
    write(source, logs__log="l", cache__db__local="d", index__x="x")
    (source / ".info.json").write_text("{}")
    (source / "large").write_bytes(b"x" * (work_dirs.LARGEST + 1))
    (source / "link").symlink_to("/etc/passwd")
    write(target, cache__user="old", cache__quota="of another login", logs__log="kept")
    work_dirs.clone(source, target)
    assert names(target) == ["cache/config.json", "cache/id", "cache/user", "extension/local/mcp.json", "logs/log"]
    assert ((target / "cache/user").read_text(), (target / "logs/log").read_text()) == ("u", "kept")
    assert stat.S_IMODE((target / "cache" / "user").stat().st_mode) == 0o600


def test_clone_of_nothing_is_empty(tmp_path):
    work_dirs.clone(tmp_path / "i1", tmp_path / "i1.b")
    assert list((tmp_path / "i1.b").iterdir()) == []


def test_login_is_forgotten_where_it_was_put(tmp_path):
    write(tmp_path, cache__user="u", cache__id="i", cache__config_json="{}")
    work_dirs.forget_login(tmp_path)
    assert "cache/user" in names(tmp_path)  # nobody has put it there
    note(tmp_path, Held(1, 1, ""))
    work_dirs.forget_login(tmp_path)
    assert names(tmp_path) == ["cache/config.json"]
