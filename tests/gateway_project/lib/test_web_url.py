"""URLs are read strictly: what could be understood in two ways is refused."""

import pytest

from gateway_project.lib.web_url import BadUrl, parse, redirected

PORTS = frozenset({80, 443, 8080})


@pytest.mark.parametrize(
    ("url", "authority", "path", "secure"),
    [
        ("http://a.example", "a.example", "/", False),
        ("HTTPS://A.Example./x.png?y=1&z=%20#part", "a.example", "/x.png?y=1&z=%20", True),
        ("https://a.example:8080/x", "a.example:8080", "/x", True),
        ("http://a.example:443/x", "a.example:443", "/x", False),
        ("https://a.example:443/x", "a.example", "/x", True),
        ("http://[2606:4700::1111]/x", "[2606:4700::1111]", "/x", False),
        ("http://bücher.example/ä.png?q=ü", "xn--bcher-kva.example", "/%C3%A4.png?q=%C3%BC", False),
        ("http://my_bucket.a.example/x?a=/b?c", "my_bucket.a.example", "/x?a=/b?c", False),
        ("http://8.8.8.8/x", "8.8.8.8", "/x", False),
    ],
)
def test_url_gives_host_port_and_path(url, authority, path, secure):
    target = parse(url, PORTS)
    assert (target.authority, target.path, target.secure) == (authority, path, secure)


@pytest.mark.parametrize(
    "url",
    [
        "", "a.png", "/etc/passwd", "//a.example/x", "file:///etc/passwd", "ftp://a.example/x", "gopher://a.example",
        "C:\\a.png", "javascript:alert(1)", "http://", "http:///x", "http://:80/x", "http://user@a.example/",
        "http://user:secret@a.example/", "http://@a.example/", "http://a.example:22/", "http://a.example:0/",
        "http://a.example:99999/", "http://a.example:http/", "http://a..example/", "http://.example/",
        "http://a.example/\r\nX-More: 1", "http://a.example/a b", "http://a.example\\@b.example/", "http://[::1/",
        "http://[fe80::1%25eth0]/", "http://a.example%2f@b.example/", "http://" + "a" * 64 + ".example/",
        "http://a.example/" + "x" * 9000, "http://a,b.example/", "http://a.example\u2100/",
    ],
)  # fmt: skip
def test_other_urls_are_refused(url):
    with pytest.raises(BadUrl):
        parse(url, PORTS)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b", "https://a.example/b"),
        ("c?d", "https://a.example/x/c?d"),
        ("//b.example/y", "https://b.example/y"),
        ("https://b.example/y", "https://b.example/y"),
    ],
)
def test_a_redirect_may_be_relative(location, url):
    assert redirected(parse("https://a.example/x/y", PORTS), location, PORTS).url == url


@pytest.mark.parametrize(
    "location", ["http://a.example/", "file:///etc/passwd", "data:,x", "https://u@a.example/", "https://a:22/", "//["]
)
def test_redirect_is_checked_and_stays_encrypted(location):
    with pytest.raises(BadUrl):
        redirected(parse("https://a.example/", PORTS), location, PORTS)


def test_a_redirect_may_lead_to_encryption():
    assert redirected(parse("http://a.example/", PORTS), "https://a.example/", PORTS).secure
