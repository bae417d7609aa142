from types import SimpleNamespace

import dj_database_url
import pytest
from django.middleware.csrf import CsrfViewMiddleware
from kombu import Connection
from kombu.transport.redis import Channel
from redis.connection import parse_url

from gateway_project.env import SECRETS, Environment, SettingError, keys_at_rest, load, stored_secret
from gateway_project.lib.secrets.key_secret import generate


@pytest.fixture
def read(monkeypatch):
    """Read an environment that differs in some variables."""

    def read(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return load.__wrapped__()

    return read


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "eighty"),
        ("WEB_PROCESSES", "0"),
        ("GATEWAY_SERVER", "gunicorn"),
        ("DATABASE_URL", "gateway.sqlite3"),
        ("DATABASE_URL", "mysql://localhost/gateway"),
        ("DATABASE_URL", "sqlite://gateway.sqlite3"),
        ("REDIS_URL", "http://localhost"),
        ("TOOL_APPROVAL", "yes"),
        ("TOOL_APPROVAL", "allow:"),
        ("LINGMA_ATTACH_URLS", "ws://localhost:1,http://localhost:2"),
        ("LINGMA_ATTACH_URLS", "ws://[::1:3000"),
        ("LINGMA_ATTACH_URLS", "ws://::1:3000"),
        ("LINGMA_ASK_OVERRIDES", "{"),
        ("CSRF_TRUSTED_ORIGINS", "gateway.example.com"),
        ("CSRF_TRUSTED_ORIGINS", "https://gateway.example.com/admin"),
        ("CSRF_TRUSTED_ORIGINS", "*"),
        ("TIME_ZONE", "Mars"),
        ("LOG_LEVEL", "LOUD"),
        ("NODE_NAME", "two words"),
        ("PEER_LISTEN", "10.0.0.5"),
        ("PEER_LISTEN", "0.0.0.0:8400"),
    ],
)
def test_broken_value_is_refused_in_one_line(read, name, value):
    with pytest.raises(SettingError) as refusal:
        read(**{name: value})
    assert str(refusal.value).startswith(f"{name}: ")
    assert "\n" not in str(refusal.value)


SECRET = "x" * 20


@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        ({"PEER_LISTEN": "127.0.0.1:8400"}, "PEER_SECRET"),
        ({"PEER_LISTEN": "127.0.0.1:8400", "PEER_SECRET": "short"}, "PEER_SECRET"),
        ({"PEER_LISTEN": "10.0.0.5:8400", "PEER_SECRET": SECRET}, "PEER_TLS_CERT"),
        ({"PEER_TLS_CERT": __file__}, "PEER_TLS_KEY"),
        ({"PEER_TLS_CERT": "/nowhere"}, "/nowhere"),
    ],
)
def test_machines_do_not_speak_in_the_clear(read, variables, missing):
    with pytest.raises(SettingError, match=missing):
        read(**variables)


def test_identity_provider_needs_the_gateways_name(read):
    issuer = "https://login.example.org"
    with pytest.raises(SettingError, match="OIDC_ISSUER needs an OIDC_CLIENT_ID"):
        read(OIDC_ISSUER=issuer)
    assert read(OIDC_ISSUER=issuer, OIDC_CLIENT_ID="gateway").oidc_issuer == issuer


def test_machine_has_a_name_where_there_are_several(read):
    assert read().process_names == ["web-1"]
    named = read(NODE_NAME="north", WEB_PROCESSES="2")
    assert named.process_names == ["north/web-1", "north/web-2"]
    several = read(NODE_NAME="", PEER_LISTEN="[::1]:8400", PEER_SECRET=SECRET)
    assert several.named_node == several.node != ""
    assert several.peer_address == ("::1", 8400)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "http://:hunter2@localhost"),
        ("REDIS_URL", "redis://:hunter2/half@localhost"),
        ("REDIS_URL", "redis://:hunter2[half@localhost"),
        ("REDIS_URL", "redis://:hunter2℀half@localhost"),  # Python takes the sign for a slash in disguise
        ("DATABASE_URL", "postgres://u:hunter2/half@localhost/n"),
        ("DATABASE_URL", "postgres://u:hunter2[half@localhost/n"),
        ("LINGMA_ATTACH_URLS", "ws://u:hunter2/half@localhost:1"),
    ],
)
def test_a_refusal_does_not_repeat_a_secret(read, name, value):
    with pytest.raises(SettingError, match=f"^{name}: ") as refusal:
        read(**{name: value})
    assert "hunter2" not in str(refusal.value)


def test_unreadable_env_file_is_one_line(read, tmp_path, monkeypatch):
    (file := tmp_path / ".env").write_bytes("ADMIN_USERNAME=Jürgen\n".encode("latin-1"))
    monkeypatch.setitem(Environment.model_config, "env_file", file)
    with pytest.raises(SettingError) as refusal:
        read()
    assert str(refusal.value) == f".env: cannot read {file}: this is no text in UTF-8"


def test_an_empty_value_means_the_default(read):
    assert read(PORT="", LINGMA_ATTACH_URLS="").port == 8317


def test_names_are_separated_by_commas(read):
    assert read(ALLOWED_HOSTS="one, two,,").allowed_hosts == ["one", "two"]


def test_file_has_a_key_on_each_line(read, tmp_path):
    (path := tmp_path / "keys").write_text("first-key-of-somebody\nsecond-key-of-somebody,third-key-of-somebody\n\n")
    keys = ["first-key-of-somebody", "second-key-of-somebody", "third-key-of-somebody"]
    assert read(API_KEYS_FILE=str(path)).api_keys == keys


@pytest.mark.parametrize("keys", ["~", "nineteen-characters", f"{'x' * 20},hunter2"])
def test_guessable_key_is_refused_and_not_repeated(read, keys):
    with pytest.raises(SettingError, match=r"API_KEYS: key \d has \d+ characters; a key needs at least 20") as refusal:
        read(API_KEYS=keys)
    assert keys.rpartition(",")[2] not in str(refusal.value)
    assert read(API_KEYS=f"{'x' * 20}, {'y' * 20}").api_keys == ["x" * 20, "y" * 20]


def test_a_mistyped_key_is_refused_at_start(read):
    key = generate()
    assert read(API_KEYS=key).api_keys == [key]
    with pytest.raises(SettingError, match="API_KEYS: key 1 has the form of a key of this gateway"):
        read(API_KEYS=key[:-1] + ("x" if key[-1] != "x" else "y"))


@pytest.mark.parametrize(
    ("variables", "upstream"),
    [
        ({}, "simulator"),
        ({"LINGMA_BIN": "/opt/lingma"}, "lingma"),
        ({"LINGMA_VSIX": "/opt/lingma.vsix"}, "lingma"),
        ({"LINGMA_ATTACH_URLS": "ws://localhost:1", "LINGMA_BIN": "/opt/lingma"}, "attached"),
        ({"LINGMA_ATTACH_URLS": "wss://lingma.example.com/ws"}, "attached"),
    ],
)
def test_the_upstream_follows_from_what_is_set(read, variables, upstream):
    assert read(**variables).upstream == upstream


def test_eight_turns_run_at_once_for_every_instance(read):
    assert read(LINGMA_INSTANCES="3").in_flight_limit == 24
    assert read(LINGMA_ATTACH_URLS="ws://localhost:1,ws://localhost:2").in_flight_limit == 16
    assert read(MAX_IN_FLIGHT="5").in_flight_limit == 5


def test_embedded_redis_is_shared_with_celery(read, tmp_path):
    env = read(DATA_DIR=str(tmp_path))
    assert env.redis_or_embedded_url == f"unix://{tmp_path}/redis.sock"
    assert env.celery_broker_url == f"redis+socket://{tmp_path}/redis.sock"


ODD = "a b#c?d%25;e[f]é'\"&="


def test_path_may_hold_url_characters(read, tmp_path):
    env = read(DATA_DIR=str(tmp_path / ODD))
    assert parse_url(env.redis_or_embedded_url)["path"] == str(tmp_path / ODD / "redis.sock")
    assert dj_database_url.parse(env.database_or_sqlite_url)["NAME"] == str(tmp_path / ODD / "gateway.sqlite3")
    assert broker(env.celery_broker_url)["path"] == str(tmp_path / ODD / "redis.sock")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("unix://:hush@/run/a%3Bb%20c?db=3", {"path": "/run/a;b c", "password": "hush", "db": 3}),
        ("redis://me:a%3Bb@127.0.0.1:1/2", {"host": "127.0.0.1", "username": "me", "password": "a;b", "db": 2}),
    ],
)
def test_celery_goes_where_all_others_go(read, url, told):
    env = read(REDIS_URL=url)
    assert told.items() <= broker(env.celery_broker_url).items()
    assert told.items() <= parse_url(env.redis_or_embedded_url).items()


def broker(url):
    """What Celery's client of Redis is given."""
    channel = Channel.__new__(Channel)
    channel.connection = SimpleNamespace(client=Connection(url), default_port=6379)
    return channel._connparams()


@pytest.mark.parametrize("name", ["REDIS_URL", "DATABASE_URL"])
def test_hash_in_url_is_refused_with_advice(read, name):
    scheme = "unix" if name == "REDIS_URL" else "sqlite"
    with pytest.raises(SettingError, match=f"^{name}: has a # in it; in a URL it is written %23$"):
        read(**{name: f"{scheme}:///srv/a#b"})


def test_secret_is_made_once_for_its_owner(tmp_path):
    secret = stored_secret(tmp_path, "django")
    assert stored_secret(tmp_path, "django") == secret
    assert (tmp_path / "secrets" / "django").stat().st_mode & 0o077 == 0


def test_secret_may_be_in_a_file(read, tmp_path):
    path = tmp_path / "keys"
    path.write_text("the first key of this gateway,the second key of this gateway\n")
    env = read(SECRET_KEYS_FILE=str(path))
    assert [key.get_secret_value() for key in env.secret_keys] == [
        "the first key of this gateway", "the second key of this gateway"
    ]  # fmt: skip
    assert "second" not in repr(env)


def test_secret_given_twice_is_refused(read, tmp_path):
    path = tmp_path / "token"
    path.write_text("from the file")
    with pytest.raises(SettingError, match="ADMIN_TOKEN_FILE: ADMIN_TOKEN is set as well"):
        read(ADMIN_TOKEN="from the environment", ADMIN_TOKEN_FILE=str(path))


def test_every_secret_may_be_in_a_file(read, tmp_path):
    secret = {name for name, field in Environment.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert "email_host_password" in secret
    assert secret - SECRETS == set()
    path = tmp_path / "password"
    path.write_text("of the SMTP server\n")
    assert read(EMAIL_HOST_PASSWORD_FILE=str(path)).email_host_password.get_secret_value() == "of the SMTP server"


def test_missing_file_of_secret_is_refused(read, tmp_path):
    with pytest.raises(SettingError, match=r"METRICS_TOKEN_FILE: cannot read .*missing: No such file"):
        read(METRICS_TOKEN_FILE=str(tmp_path / "missing"))


def test_short_secret_key_is_refused_unquoted(read):
    with pytest.raises(SettingError) as refusal:
        read(SECRET_KEYS="short")
    assert str(refusal.value) == "SECRET_KEYS: key 1 is shorter than 20 characters, so it can be guessed"


def test_secret_keys_are_generated_and_kept(read, tmp_path):
    made = keys_at_rest(read(), tmp_path)
    assert keys_at_rest(read(), tmp_path) == made
    assert len(made) == 1
    # What was encrypted before there were others can still be read.
    own = "a key of the operator's own"
    assert keys_at_rest(read(SECRET_KEYS=own), tmp_path) == [own, *made]
    assert keys_at_rest(read(SECRET_KEYS=own), tmp_path / "fresh") == [own]


@pytest.mark.parametrize(
    ("origins", "console"),
    [
        ("", ""),
        ("https://gw.example.com,http://10.0.0.1:8317", "https://gw.example.com"),
        ("https://*.example.com,https://gw.example.org/", "https://gw.example.org"),
    ],
)
def test_first_trusted_origin_is_the_console(read, origins, console):
    assert read(CSRF_TRUSTED_ORIGINS=origins).alert_options["console"] == console


def test_trusted_origins_are_as_browsers_send_them(read, settings, rf):
    """Django compares them letter by letter."""
    settings.ALLOWED_HOSTS = ["gw.example.com"]
    settings.CSRF_TRUSTED_ORIGINS = read(
        CSRF_TRUSTED_ORIGINS="https://GW.example.com/, https://*.example.org/"
    ).csrf_trusted_origins
    for origin, trusted in {
        "https://gw.example.com": True, "https://a.example.org": True, "https://gw.example.net": False,
    }.items():  # fmt: skip
        request = rf.post("/login/", headers={"host": "gw.example.com", "origin": origin})
        assert CsrfViewMiddleware(lambda _: None)._origin_verified(request) is trusted
