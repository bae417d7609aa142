"""What is done with what is seen of a login page, and where a page may lead."""

import pytest

from bridge.signin.page_rules import PageRules, Progress, Seen, is_callback, may_visit, next_step, resolver_rule

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
