import os

from gateway_project.backup.whole_file import whole_file


def test_draft_of_killed_process_hinders_nobody(tmp_path):
    """In a container the next one has the same number."""
    path = tmp_path / "nightly.backup"
    (tmp_path / f".nightly.backup.{os.getpid()}.part").touch()
    with whole_file(path, replaces=True) as file:
        file.write(b"all of it")
    assert path.read_bytes() == b"all of it"
