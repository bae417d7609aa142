import time

import pytest

from accounts.content.redaction import redacted
from gateway_project.lib.secrets.key_secret import generate

PEM = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEow+IBAAKC/AQEA\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sk-proj-abcDEF_1234567890", "[API key]"),
        ("sk-ant-api03-abcdef-123456", "[API key]"),
        ("token ghp_abcdefghij0123456789ABCDEF!", "token [API key]!"),
        ("AKIAIOSFODNN7EXAMPLE and LTAI5tAbCdEfGh1234567890", "[API key] and [API key]"),
        ('{"key": "AIzaSyA-1234567890abcdefg"}', '{"key": "[API key]"}'),
        ("Authorization: Bearer abc.def-123456~x", "Authorization: Bearer [token]"),
        ("'Authorization': 'Basic dXNlcjpwYXNzd29yZA=='", "'Authorization': 'Basic [token]'"),
        (f"a {JWT} b", "a [token] b"),
        (f"before\n{PEM}\nafter", "before\n[private key]\nafter"),
        (PEM.replace("\n", "\\n"), "[private key]"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEow cut off", "[private key]"),
        ("postgres://gateway:hunter2@db/gateway", "postgres://gateway:[password]@db/gateway"),
        ("postgres://app:p@ssw0rd@db/x", "postgres://app:[password]@db/x"),
        ("amqp://a:@b@@c@mq, redis://:x@y@cache", "amqp://a:[password]@mq, redis://:[password]@cache"),
        ('["http://a:b@h:80","@all","x@"]', '["http://a:[password]@h:80","@all","x@"]'),
        ("redis://:p4ss:word@cache:6379", "redis://:[password]@cache:6379"),
        ("write to alice.smith+x@mail.example.co.uk, please", "write to [e-mail], please"),
        ("你好alice@example.com", "[e-mail]"),
    ],
)
def test_secrets_of_known_forms_go(text, shown):
    assert redacted(text) == shown


@pytest.mark.parametrize("before", ["\\n", "\\t", "\\r", "\\\\n", "\\u003d", "%3D", "%0a", "_", "密钥"])
@pytest.mark.parametrize(
    "secret",
    ["sk-proj-abcDEF_1234567890", "ghp_abcdefghij0123456789ABCDEF", "lgw_abcdefgh_ijklmnopqrstuvwxyz", JWT,
     "Authorization: Bearer abc.def-123456~x", "authorization: Basic dXNlcjpwYXNzd29yZA"],
)  # fmt: skip
def test_secret_behind_an_escape_goes(before, secret):
    """Arguments of calls are JSON, where a new line ends in a letter."""
    assert secret[-12:] not in redacted(f'{{"content": "A{before}{secret}\\n"}}')


def test_gateway_keys_are_redacted():
    assert redacted(f"key={generate()}.") == "key=[API key]."


def test_every_form_of_a_key_has_its_sign():
    """A text is searched only for what one of these signs shows."""
    prefixes = (
        "lgw_", "sk-", "sk_", "pt-", "rt-", "rk_live_", "pk_test_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_",
        "github_pat_", "glpat-", "xoxb-", "AKIA", "ASIA", "LTAI", "AIza", "hf_", "npm_", "pypi-",
    )  # fmt: skip
    for prefix in prefixes:
        assert redacted(f"{prefix}abcdefABCDEF0123456789") == "[API key]", prefix


@pytest.mark.parametrize(
    "text",
    [
        "the bearer of bad news, or bearer authentication",
        "def sk_learn(x): return task-based",
        "https://example.com:8080/path?q=1",
        "https://alice:@example/",
        "@decorator\nclass A: pass",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "通义灵码 is 42",
        "risk-assessment-of-the-project",
    ],
)
def test_ordinary_text_stays(text):
    assert redacted(text) == text


@pytest.mark.parametrize(
    "piece",
    ["-----BEGIN PRIVATE KEY-----", "eyJ", "a@a.", "a.", "://a:", "bearer ", "sk-", "x", "-", "Authorization: Basic ",
     "://", "@", "a@", "://a:b@", "a:@@"],
)  # fmt: skip
def test_redaction_takes_linear_time(piece):
    texts = [piece * (size // len(piece)) for size in (32 << 10, 256 << 10)]
    took = []
    for text in texts:
        began = time.process_time()
        redacted(text)
        took.append(time.process_time() - began)
    # Eight times the text; a quadratic pattern would take 64 times as long.
    assert took[1] < 24 * took[0] + 0.05
