"""What is done with what is seen of a login page, and where a page may lead."""

import base64

import pytest

from bridge.signin.page_rules import (
    PageRules,
    Progress,
    Seen,
    is_callback,
    known_hosts,
    may_visit,
    next_step,
    resolver_rule,
)
from bridge.signin.proxies import proxies_of, script_of

HOSTS = PageRules().hosts
FORM = {"username": "#u", "password": "#p"}


@pytest.mark.parametrize(
    ("seen", "done", "step"),
    [
        ({}, {}, "unknown"),
        ({"is_loaded": False}, {}, "wait"),
        (FORM, {}, "fill"),
        (FORM, {"submitted": True}, "wait"),
        ({**FORM, "error": "#e"}, {"submitted": True}, "wrong"),
        # Whatever else the page complains about before anything was sent.
        ({**FORM, "error": "#e"}, {}, "fill"),
        ({**FORM, "captcha": "#c"}, {}, "captcha"),
        ({"code": "#c", "error": "#e"}, {"submitted": True}, "code"),
        ({"username": "#u"}, {}, "name"),
        ({"username": "#u"}, {"named": True}, "wait"),
        (FORM, {"named": True}, "fill"),
        ({"link": "#l"}, {}, "follow"),
        ({"link": "#l"}, {"followed": True}, "wait"),
    ],
)
def test_next_step_follows_from_what_is_seen(seen, done, step):
    assert next_step(Seen(**seen), Progress(**done)) == step


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://account.aliyun.com/login?x=1", True),
        ("https://aliyun.com/", True),
        ("http://account.aliyun.com/", False),
        ("https://aliyun.com.evil.example/", False),
        ("https://notaliyun.com/", False),
        ("https://user@evil.example/?aliyun.com", False),
        ("https://first.example/lingma/login", True),
        ("https://first.example:444/", False),
        ("http://127.0.0.1:4711/auth/callback?state=x", True),
        ("http://localhost:4711/auth/callback", True),
        ("http://127.0.0.1:4711/profile", False),
        ("http://127.0.0.1:6379/auth/callback", False),
        ("https://[bad", False),
    ],
)
def test_browser_goes_to_known_hosts_alone(url, allowed):
    assert may_visit(url, "https://first.example/lingma/login?nonce=1", 4711, HOSTS) is allowed


def test_callback_is_that_of_the_own_port():
    assert is_callback("http://127.0.0.1:4711/auth/callback?state=1", 4711)
    for other in ("http://127.0.0.1:4712/auth/callback", "http://evil.example:4711/auth/callback", "about:blank"):
        assert not is_callback(other, 4711)


def test_resolver_knows_listed_hosts_and_no_others():
    assert resolver_rule("https://first.example/x", 7, ("aliyun.com",)) == (
        "MAP 127.0.0.1 127.0.0.1:7 , MAP localhost 127.0.0.1:7 , MAP * ~NOTFOUND , EXCLUDE first.example , "
        "EXCLUDE aliyun.com , EXCLUDE *.aliyun.com"
    )
    assert "EXCLUDE localhost" in resolver_rule("http://localhost:8/x", 7, ())


def test_proxy_has_a_name_that_is_found():
    proxies = proxies_of({"HTTP_PROXY": "http://u:p@127.0.0.1:3128", "https_proxy": "proxy.example"}, "x.invalid")
    assert resolver_rule("https://first.example/x", 7, (), proxies.all) == (
        "MAP a-x.invalid 127.0.0.1:3128 , MAP b-x.invalid proxy.example:80 , MAP 127.0.0.1 127.0.0.1:7 , "
        "MAP localhost 127.0.0.1:7 , MAP * ~NOTFOUND , EXCLUDE first.example"
    )


@pytest.mark.parametrize(
    ("value", "kind", "name", "port"),
    [
        ("proxy.example:3128", "PROXY", "a-x", 3128),
        ("HTTP://proxy.example", "PROXY", "a-x", 80),
        ("https://proxy.example", "HTTPS", "proxy.example", 443),
        ("socks5h://[::1]:9", "SOCKS5", "a-x", 9),
    ],
)
def test_proxies_are_those_of_the_variables(value, kind, name, port):
    (proxy,) = proxies_of({"HTTP_PROXY": value}, "x").all
    assert (proxy.kind, proxy.name, proxy.port) == (kind, name, port)


@pytest.mark.parametrize("value", ["", "http://", "ftp://proxy.example", "http://[bad", "http://h:99999"])
def test_malformed_proxy_is_none(value):
    assert proxies_of({"HTTP_PROXY": value, "NO_PROXY": "a"}, "x").all == []


def test_script_names_hosts_and_exceptions():
    proxies = proxies_of({"HTTPS_PROXY": "h:1", "NO_PROXY": ".corp.example, *.no:80,"}, "x.invalid")
    text = base64.b64decode(script_of(proxies, known_hosts("https://first.example/", ("aliyun.com",))).split(",")[1])
    for part in (b'["first.example", "aliyun.com"]', b'["corp.example", "no"]', b'"PROXY b-x.invalid:1" : "DIRECT"'):
        assert part in text
    assert known_hosts("http://127.0.0.1:7/x", ("a.example",)) == ["a.example"]
