"""Static files and pages as an asynchronous server sends them."""

import gzip
import warnings

import pytest
from django.test import AsyncClient
from django.urls import reverse_lazy

from gateway_project.supervise import prepare


@pytest.fixture
def static_file(tmp_path, settings):
    settings.STATIC_ROOT = str(tmp_path)
    (tmp_path / "a.css").write_text("body { color: red }")
    return "/static/a.css"


async def test_static_file_is_sent_without_warning(static_file):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = await AsyncClient().get(static_file)
        assert (answer.status_code, answer.content) == (200, b"body { color: red }")
        assert answer.headers["Content-Type"].startswith("text/css")
        part = await AsyncClient().get(static_file, headers={"range": "bytes=0-3"})
        assert (part.status_code, part.content) == (206, b"body")
        head = await AsyncClient().head(static_file)
        assert (head.content, head.headers["Content-Length"]) == (b"", "19")


def test_pages_are_compressed_where_taken(client):
    answer = client.get("/me/", headers={"accept-encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"</html>" in gzip.decompress(answer.content)
    assert "Content-Encoding" not in client.get("/me/").headers


@pytest.mark.django_db
@pytest.mark.parametrize("path", [reverse_lazy("usage_export_csv"), "/api/schema/"])
def test_answers_beside_pages_are_not_compressed(admin_client, path):
    answer = admin_client.get(path, headers={"accept-encoding": "gzip"})
    assert answer.status_code == 200
    assert "Content-Encoding" not in answer.headers


def test_collected_files_are_not_collected_again(tmp_path, monkeypatch):
    """DATA_DIR lies in the repository, unless somebody says where."""
    for folder in ("requirements", "pages/static/pages", "data/static/pages"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "requirements/run.txt").touch()
    (tmp_path / "pages/__init__.py").touch()
    (ours := tmp_path / "pages/static/pages/a.css").touch()
    monkeypatch.setattr(prepare, "BASE_DIR", tmp_path)
    before = prepare.static_version()
    (tmp_path / "data/static/pages/a.css").touch()
    assert prepare.static_version() == before
    ours.unlink()
    assert prepare.static_version() != before
