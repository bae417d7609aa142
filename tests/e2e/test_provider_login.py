"""Log-in by an identity provider: a tiny one of our own, and a real gateway that trusts it."""

import base64
import hashlib
import http.server
import json
import threading
import time
import urllib.parse

import httpx2
import pytest

from tests.e2e.installation import PASSWORD, django
from tests.e2e.whole import start

CLIENT, SECRET = "gateway", "a secret of the client"


class Provider(http.server.ThreadingHTTPServer):
    """Confirms whoever `user` is."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.user, self.codes, self.asked, self.wrong = {}, {}, [], {}


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.server.asked.append((url.path, query))
        match url.path:
            case "/.well-known/openid-configuration":
                self.answer(
                    {
                        "issuer": self.server.url,
                        "jwks_uri": f"{self.server.url}/keys",
                        **{
                            f"{name}_endpoint": f"{self.server.url}/{name}"
                            for name in ("authorization", "token", "userinfo")
                        },
                    }
                )
            case "/authorization":
                code = f"code-{len(self.server.codes)}"
                self.server.codes[code] = query
                following = urllib.parse.urlencode({"code": code, "state": query["state"]})
                self.send_response(302)
                self.send_header("Location", f"{query['redirect_uri']}?{following}")
                self.end_headers()
            case "/userinfo":
                assert self.headers["Authorization"] == "Bearer an access token"
                self.answer(self.server.user)

    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        query = self.server.codes.pop(form["code"], None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if query is None or (form["client_secret"], challenge) != (SECRET, query["code_challenge"]):
            return self.answer({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.server.url, "aud": CLIENT, "iat": now, "exp": now + 60, "sub": self.server.user["sub"]}
        token = ".".join(encoded(part) for part in ({"alg": "RS256", "kid": "1"}, claims | self.server.wrong)) + ".c2ln"
        return self.answer({"access_token": "an access token", "token_type": "Bearer", "id_token": token})

    def answer(self, body, status=200):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def encoded(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


@pytest.fixture(scope="module")
def provider():
    server = Provider()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("provider")


@pytest.fixture(scope="module")
def secret_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("secret") / "oidc"
    path.write_text(SECRET + "\n")
    return path


@pytest.fixture(scope="module")
def variables(provider, secret_file):
    return {"OIDC_ISSUER": provider.url, "OIDC_CLIENT_ID": CLIENT, "OIDC_CLIENT_SECRET_FILE": str(secret_file)}


@pytest.fixture(scope="module")
def whole(directory, template, variables):
    with start(directory, template, **variables) as running:
        running.complete()
        yield running


@pytest.fixture
def users(whole, directory, variables):
    """`users(code)`: run code with the users of this gateway; return what it prints."""

    def run(code):
        return django(directory, f"from django.contrib.auth.models import User\n{code}", **variables)

    return run


@pytest.fixture
def visitor(whole):
    with httpx2.Client(base_url=f"http://127.0.0.1:{whole.port}", timeout=60, trust_env=False) as client:
        yield client


def log_in(visitor, provider, **user):
    provider.user, provider.wrong = user, user.pop("wrong", {})
    return visitor.get("/login/oidc/?next=/usage/%3Frange=7d", follow_redirects=True)


def made(name, address, **fields):
    options = "".join(f", {key}={value!r}" for key, value in fields.items())
    return f"print(User.objects.create_user({name!r}, {address!r}, {PASSWORD!r}{options}).pk)"


def test_verified_address_logs_its_user_in(visitor, provider, users):
    users(made("vera", "Vera@example.com", is_superuser=True, is_staff=False))
    assert "/login/oidc/" in visitor.get("/login/?next=/usage/").text
    page = log_in(visitor, provider, sub="1", email="vera@example.com", email_verified=True)
    assert (page.status_code, page.url.path, page.url.query) == (200, "/usage/", b"range=7d")
    assert "vera" in page.text
    # From now on by the subject, whatever the address is, and the password is as it was.
    visitor.cookies.clear()
    assert log_in(visitor, provider, sub="1", email="other@example.com").url.path == "/usage/"
    assert users(f"print(User.objects.get(username='vera').check_password({PASSWORD!r}))") == "True"
    assert visitor.get("/admin/", follow_redirects=True).status_code == 403  # it makes nobody staff


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ({"sub": "7", "email": "nobody@example.com", "email_verified": True}, "Nobody here has this"),
        ({"sub": "8", "email": "known@example.com", "email_verified": False}, "Nobody here has this"),
        ({"sub": "9", "email": "known@example.com"}, "Nobody here has this"),
        ({"sub": "10", "email": "", "email_verified": True}, "Nobody here has this"),
        ({"sub": "11", "email": "known@example.com", "email_verified": True, "wrong": {"sub": "12"}}, "not confirm"),
        ({"sub": "13", "email": "known@example.com", "email_verified": True, "wrong": {"iss": "x"}}, "not confirm"),
        ({"sub": "14", "email": "known@example.com", "email_verified": True, "wrong": {"aud": "x"}}, "not confirm"),
        ({"sub": "15", "email": "known@example.com", "email_verified": True, "wrong": {"exp": 1}}, "not confirm"),
    ],
)
def test_users_beside_the_allowed_stay_out(visitor, provider, users, user, reason):
    users("User.objects.filter(username='known').delete()\n" + made("known", "known@example.com"))
    before = users("print(User.objects.count())")
    page = log_in(visitor, provider, **user)
    assert (page.status_code, reason in page.text) == (403, True)
    assert visitor.get("/usage/").status_code == 302
    assert users("print(User.objects.count())") == before


def test_address_says_nothing_to_the_provider(visitor, provider, users):
    """A link on some page neither links accounts nor asks the provider for more."""
    users(made("asked", "asked@example.com"))
    provider.user, provider.wrong = {"sub": "16", "email": "asked@example.com", "email_verified": True}, {}
    for query in ("process=connect", "process=redirect", "auth_params=scope%3Dx", "scope=x"):
        visitor.cookies.clear()
        provider.asked.clear()
        page = visitor.get(f"/login/oidc/?{query}&next=/account/", follow_redirects=True)
        assert (page.url.path, page.status_code) == ("/account/", 200), query
        scope = next(query for path, query in provider.asked if path == "/authorization")["scope"]
        assert set(scope.split()) == {"openid", "profile", "email"}, query


def test_dotless_i_is_no_i(visitor, provider, users):
    users(made("admin_i", "admin@example.com"))
    assert log_in(visitor, provider, sub="17", email="adm\u0131n@example.com", email_verified=True).status_code == 403


def test_user_without_password_adds_a_factor(visitor, provider, users):
    users(made("alone", "alone@example.com") + "\nuser = User.objects.get(username='alone')\n"
          "user.set_unusable_password()\nuser.save()")  # fmt: skip
    log_in(visitor, provider, sub="18", email="alone@example.com", email_verified=True)
    assert visitor.get("/account/app/add/").status_code == 200


def test_address_of_two_users_is_nobodys(visitor, provider, users):
    users(made("one", "shared@example.com") + "\n" + made("two", "shared@example.com"))
    assert log_in(visitor, provider, sub="20", email="shared@example.com", email_verified=True).status_code == 403


def test_inactive_user_stays_out(visitor, provider, users):
    users(made("gone", "gone@example.com", is_active=False))
    log_in(visitor, provider, sub="30", email="gone@example.com", email_verified=True)
    assert visitor.get("/usage/").status_code == 302


def test_answer_that_nobody_asked_for_is_refused(visitor, provider):
    for query in ("", "?code=x", "?code=x&state=y", "?error=access_denied", "?state=%00"):
        page = visitor.get(f"/login/oidc/callback/{query}", follow_redirects=True)
        assert page.status_code == 403
        assert "did not confirm" in page.text
    assert visitor.get("/login/unknown/").status_code == 404


def test_strangers_cost_the_provider_little(visitor, provider):
    provider.asked.clear()
    for _ in range(20):
        assert visitor.get("/login/oidc/").status_code == 302
    assert len(provider.asked) <= 1


def test_second_factor_is_asked_for_here(visitor, provider, users):
    users(
        made("double", "double@example.com") + "\nfrom allauth.mfa.models import Authenticator\n"
        "Authenticator.objects.create(user=User.objects.get(username='double'), type='totp', data={'secret': ''})"
    )
    page = log_in(visitor, provider, sub="40", email="double@example.com", email_verified=True)
    assert page.url.path == "/login/code/"
    assert visitor.get("/usage/").status_code == 302
