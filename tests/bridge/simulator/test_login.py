"""Login states, the login flow, models and settings."""

import json
import re
import shutil
import time
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from bridge.simulator.methods.login_pages import PageEnd
from bridge.simulator.options.controls import Controls
from bridge.simulator.process import work_dir
from bridge.simulator.service import Service
from tests.bridge.simulator.harness import QUICK, methods

AFTER_LOGIN = ["config/changeEndpoint", "model/refresh", "config/refreshModels", "auth/report"]


def page(simulator, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{simulator.http_port}{path}") as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        return answer.read().decode()


async def status(client):
    return (await client.call("auth/status"))["status"]


async def test_initialize_has_name_and_version(start):
    async with start("--version-string=9.9.9").client(initialize=False) as client:
        result = await client.call("initialize")
    assert result["serverInfo"] == {"name": "lingma", "version": "9.9.9"}


async def test_a_fresh_work_dir_is_logged_out(start):
    simulator = start()
    async with simulator.client() as client:
        answer = await client.call("auth/status")
        assert (answer["status"], answer["token"], answer["accountId"]) == (1, "", "")
        assert await client.call("config/queryModels") == {}
        _, finish = await client.chat("hello")
    assert finish["statusCode"] == 401
    assert "No cached user info, please login." in simulator.log()


async def test_logged_in_service_shows_account_and_models(simulator):
    async with simulator.client() as client:
        answer = await client.call("auth/status")
        models = await client.call("config/queryModels")
    assert (answer["status"], answer["whitelist"], answer["token"][:3], answer["refreshToken"][:3]) == (
        2,
        3,
        "pt-",
        "rt-",
    )
    assert set(models) == {"assistant", "chat", "developer", "inline", "quest"}
    assert {"key": "org_auto", "displayName": "Auto", "format": "openai"}.items() <= models["chat"][0].items()


async def test_a_copied_bundle_is_a_login(start, tmp_path):
    start("--login=auto", name="first")
    (tmp_path / "second").mkdir()
    shutil.copytree(tmp_path / "first/cache", tmp_path / "second/cache")
    async with start(name="second").client() as client:
        assert await status(client) == 2


@pytest.mark.parametrize(("name", "text"), [("id", "another-machine-id"), ("user", "damaged")])
async def test_unfit_bundle_is_logged_out(start, tmp_path, name, text):
    start("--login=auto", name="first").stop()
    (tmp_path / "first/cache" / name).write_text(text)
    simulator = start(name="first")
    async with simulator.client() as client:
        assert await status(client) == 1
    assert simulator.log().count("Unable to decrypt user info.") == 1


async def test_the_login_goes_through_the_browser(start):
    simulator = start()
    async with simulator.client() as client:
        made = await client.call("login/generateUrl", {"loginDedicatedType": ""})
        query = parse_qs(urlsplit(made["loginUrl"]).query)
        assert query["port"] == [str(simulator.http_port)]
        link = re.search(
            'id="login" href="(.*?)"', page(simulator, f"/lingma/login?{urlsplit(made['loginUrl']).query}")
        )
        callback = link[1].replace("&amp;", "&")
        assert "Logged in" in page(simulator, callback)
        assert await status(client) == 2
        assert methods(client.pushes) == AFTER_LOGIN
    assert "Invalid login nonce" in page(simulator, callback)
    assert (simulator.work_dir / "cache/user").exists()


async def test_a_login_attempt_expires(start):
    simulator = start("--nonce-expires-sec=0")
    async with simulator.client() as client:
        nonce = (await client.call("login/generateUrl"))["nonce"]
        assert "failed" in page(simulator, f"/auth/callback?state={nonce}&auth=a&token=t")
        assert await status(client) == 1


async def test_expired_attempt_chooses_no_organization(tmp_path):
    work_dir.lay_out(tmp_path)
    state = Service(tmp_path, Controls(tmp_path, {"organizations": "red,blue"})).state
    nonce = state.login.account.begin(0, lifetime=300)["nonce"]

    def asked(path):
        return PageEnd(state)._answer(f"GET {path} HTTP/1.1", {}, {}).page

    assert "blue" in asked(f"/auth/callback?state={nonce}&auth=a&token=t")
    state.login.account.attempts[nonce].expires = time.monotonic() - 1
    assert "failed" in asked("/auth/loginWithOrganization?organizationId=blue")
    assert state.login.account.user is None
    state.context.log._file.close()


async def test_an_account_of_several_organizations_has_to_choose(start):
    simulator = start("--organizations=red,blue")
    async with simulator.client() as client:
        url = (await client.call("auth/login"))["url"]
        nonce = parse_qs(urlsplit(url).query)["nonce"][0]
        assert "blue" in page(simulator, f"/auth/callback?state={nonce}&auth=a&token=t")
        assert await status(client) == 1
        assert "Logged in" in page(simulator, "/auth/loginWithOrganization?organizationId=blue")
        assert (await client.call("auth/status"))["orgName"] == "blue"


async def test_callback_and_device_token_log_in_too(start):
    async with start().client() as client:
        nonce = (await client.call("login/generateUrl"))["nonce"]
        callback = {"nonce": nonce, "auth": "a", "tokenString": "t"}
        assert (await client.call("login/auth_callback", callback))["success"] is True
        assert (await client.call("login/auth_callback", callback))["success"] is False
        device = {"token": "pt-1", "refreshToken": "rt-1", "expiresIn": "", "userId": "42", "username": "ann"}
        assert await client.call("auth/device_login", device) == {"success": True}
        answer = await client.call("auth/status")
    assert (answer["name"], answer["id"], answer["token"], answer["refreshToken"]) == ("ann", "42", "pt-1", "rt-1")


async def test_device_login_ends_when_it_says(start):
    later = int((time.time() + 3600) * 1000)
    async with start("--renewal=never").client() as client:
        device = {"token": "pt-1", "refreshToken": "rt-1", "expireTime": str(later), "userId": "42", "username": "ann"}
        assert await client.call("auth/device_login", device) == {"success": True}
        assert (await client.call("auth/status"))["expireTime"] == later


@pytest.mark.parametrize(
    ("kind", "secrets", "is_in"),
    [
        ("ak_sk", {"accessKey": "a", "secretKey": "s", "orgId": "red"}, True),
        ("ak_sk", {"accessKey": "a"}, False),
        ("ak_sk", {"accessKey": "a", "secretKey": "bad"}, False),
        ("personal_token", {"personalToken": "p"}, True),
        ("personal_token", {"personalToken": "worse"}, False),
        ("name_only", {"userName": "ann"}, True),
        ("saml", {"userName": "ann"}, False),
    ],
)
async def test_login_without_browser_needs_its_secrets(start, kind, secrets, is_in):
    async with start("--refused-secrets=bad,worse").client() as client:
        answer = await client.call("auth/login", {"loginType": kind, **secrets})
        assert answer["url"] == ""
        after = await client.call("auth/status")
    assert (after["status"] == 2) is is_in
    assert after["orgId"] == secrets.get("orgId", "")


@pytest.mark.parametrize("kind", ["", "aliyun", "dedicated"])
async def test_login_by_browser_gives_an_address(start, kind):
    async with start().client() as client:
        answer = await client.call("auth/login", {"loginType": kind})
        assert answer["success"]
        assert "/lingma/login?" in answer["url"]
        assert await status(client) == 1


async def test_logout_is_pushed_to_everybody(start):
    simulator = start("--login=auto")
    async with simulator.client() as client, simulator.client() as witness:
        await client.call("auth/logout")
        assert (await witness.push_named("auth/report"))["status"] == 1
        assert await client.call("config/queryModels") == {}
    assert "Deleted user info file." in simulator.log()


async def test_refresh_stores_what_it_is_given(start):
    """It renews nothing: whoever gives it the old end keeps the old end."""
    simulator = start("--login=auto")
    async with simulator.client() as client, simulator.client() as witness:
        end = (await client.call("auth/status"))["expireTime"]
        tokens = {"securityOauthToken": "pt-2", "refreshToken": "rt-2", "tokenExpireTime": end}
        stored = await client.call("auth/refreshToken", tokens)
        assert (stored["success"], stored["tokenExpireTime"], stored["errorCode"]) == (True, end, None)
        pushed = await witness.push_named("auth/syncTokenUpdate")
        assert (pushed["status"], pushed["token"], pushed["expireTime"]) == (0, "pt-2", end)
        for wrong in ({**tokens, "tokenExpireTime": 0}, {"token": "pt-2", "refreshToken": "rt-2"}, {}):
            assert (await client.call("auth/refreshToken", wrong))["errorCode"] == "INVALID_PARAMS"
        await client.call("auth/logout")
        assert (await client.call("auth/refreshToken", tokens))["errorCode"] == "USER_NOT_LOGIN"


SOON = 5 / 86400  # days: who starts it has to be there before


async def test_login_is_renewed_before_its_end(start):
    simulator = start("--login=auto", f"--token-days={SOON}", "--renewal-sec=1")
    async with simulator.client() as client:
        end = (await client.call("auth/status"))["expireTime"]
        assert (await client.push_named("auth/syncTokenUpdate"))["expireTime"] > end
        assert await status(client) == 2
    assert simulator.wait_for_line(r"renew token success\. new expire time: \d+")


async def test_second_login_is_renewed_as_the_first(start):
    """The pause after a renewal is that of the login that was renewed."""
    async with start().client() as client:
        for number in range(2):
            soon = int((time.time() + 1800) * 1000)
            device = {"token": "pt-1", "refreshToken": "rt-1", "expireTime": str(soon), "userId": str(number)}
            await client.call("auth/device_login", device)
            assert (await client.push_named("auth/syncTokenUpdate"))["expireTime"] > soon


@pytest.mark.parametrize(("renewal", "line"), [("fails", "Renew token got error from auth server"), ("never", "")])
async def test_login_that_is_not_renewed_ends(start, renewal, line):
    simulator = start("--login=auto", f"--token-days={SOON}", "--renewal-sec=1", f"--renewal={renewal}")
    async with simulator.client() as client:
        assert (await client.push_named("auth/report"))["status"] == 1
        assert await status(client) == 1
    assert line in simulator.log()
    assert "Deleted user info file." in simulator.log()
    assert not (simulator.work_dir / "cache/user").exists()


async def test_expired_bundle_is_no_login(start):
    simulator = start("--login=auto", name="first")
    simulator.stop()
    path = simulator.work_dir / "cache/user"
    path.write_text(json.dumps({**json.loads(path.read_text()), "expire_time": 1}))
    async with start(name="first").client() as client:
        assert await status(client) == 1


async def test_waiting_account_may_not_ask(start):
    async with start("--login=auto", "--whitelist=2").client() as client:
        answer = await client.call("auth/status")
        assert (answer["status"], answer["whitelist"]) == (2, 2)
        _, finish = await client.chat("hello")
        assert finish["statusCode"] == 401


class Browser:
    """Follows links and forms as a browser does; the page it is at."""

    def __init__(self, simulator):
        self.simulator = simulator
        self.page = ""

    def open(self, target, **form):
        data = urlencode(form).encode() if form else None
        target = target.replace("&amp;", "&").removeprefix(f"http://127.0.0.1:{self.simulator.http_port}")
        with urllib.request.urlopen(f"http://127.0.0.1:{self.simulator.http_port}{target}", data) as answer:
            self.page = answer.read().decode()

    def submit(self, **form):
        self.open(re.search('action="(.*?)"', self.page)[1], **form)


@pytest.fixture
def sign_in(start):
    @asynccontextmanager
    async def begin(*flags):
        simulator = start(*flags)
        browser = Browser(simulator)
        async with simulator.client() as client:
            browser.open((await client.call("login/generateUrl"))["loginUrl"])
            yield browser, client

    return begin


async def test_sign_in_asks_for_the_password(sign_in):
    async with sign_in("--sign-in=password", "--sign-in-ms=1") as (browser, client):
        browser.submit(username="ann", password="wrong")
        assert 'id="error"' in browser.page
        assert await status(client) == 1
        browser.submit(username="ann", password="simulated")
        assert "Logged in" in browser.page
        assert (await client.call("auth/status"))["name"] == "ann"


async def test_sign_in_asks_for_a_second_factor(sign_in):
    async with sign_in("--sign-in=second_factor") as (browser, client):
        browser.submit(username="ann", password="simulated")
        browser.submit(code="000000")
        assert 'id="error"' in browser.page
        assert await status(client) == 1
        browser.submit(code="123456")
        assert (await client.call("auth/status"))["name"] == "ann"


async def test_sign_in_asks_for_a_human(sign_in):
    async with sign_in("--sign-in=captcha") as (browser, client):
        browser.submit(username="ann", password="simulated")
        assert 'id="captcha"' in browser.page
        assert await status(client) == 1
        browser.open(re.search('id="human" href="(.*?)"', browser.page)[1])
        assert await status(client) == 2


async def test_changed_sign_in_has_nothing_to_fill_in(sign_in):
    async with sign_in("--sign-in=changed") as (browser, client):
        assert "<form" not in browser.page
        assert "<a" not in browser.page
        assert await status(client) == 1


@pytest.mark.parametrize("path", ["/", "/nothing"])
def test_other_pages_are_not_found(simulator, path):
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        page(simulator, path)
    refused.value.close()


def test_a_foreign_host_is_refused(simulator):
    request = urllib.request.Request(f"http://127.0.0.1:{simulator.http_port}/profile", headers={"Host": "evil.test"})
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(request)
    refused.value.close()


def test_the_http_port_takes_no_websocket(simulator):
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    request = urllib.request.Request(f"http://127.0.0.1:{simulator.http_port}/ws", headers=headers)
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        urllib.request.urlopen(request)
    refused.value.close()


async def test_endpoint_plan_and_settings_are_answered(start):
    async with start("--user-plan=pro").client() as client:
        assert await client.call("config/updateEndpoint", {"endpoint": "https://d.test"}) == {"success": True}
        assert await client.call("config/getEndpoint") == {"endpoint": "https://d.test"}
        assert "mcpAutoRun" in await client.call("config/getGlobal")
        assert await client.call("user/plan") == {"plan": "pro"}


async def test_a_plan_is_an_error_by_default(simulator):
    async with simulator.client() as client:
        assert (await client.call("user/plan"))["code"] == -32603


async def test_the_control_file_changes_a_running_service(start):
    simulator = start("--login=auto")
    async with simulator.client() as client:
        simulator.control(models="one:One,two:Two")
        await client.push_named("config/refreshModels")
        assert [item["key"] for item in (await client.call("config/queryModels"))["chat"]] == ["one", "two"]
        simulator.control(models="one:One,two:Two", login="out")
        assert (await client.push_named("auth/report"))["status"] == 1
        simulator.control(login="auto", models_empty=True, auth_status=3)
        assert await status(client) == 3
        assert await client.call("config/queryModels") == {}
        simulator.control(kick=1)
        await client.socket.wait_closed()


@pytest.mark.parametrize("options", [{"no_such_option": 1}, {"turns": [{"text": "a"}, {"no_such_option": 1}]}])
async def test_a_broken_control_file_is_logged(start, options):
    simulator = start()
    simulator.control(**options)
    assert simulator.wait_for_line("no such option: no_such_option")


async def test_control_file_that_is_none_ends_nothing(start):
    simulator = start("--login=auto")
    (simulator.work_dir / "simulator.json").mkdir()
    assert simulator.wait_for_line("simulator.json cannot be read")
    async with simulator.client() as client:
        assert await status(client) == 2
    (simulator.work_dir / "simulator.json").rmdir()
    simulator.control(version_string="9")
    async with simulator.client() as client:
        assert (await client.call("initialize"))["serverInfo"]["version"] == "9"


def test_user_file_can_be_rewritten_continuously(start):
    simulator = start("--login=auto", "--rewrite-user-ms=20")
    path = simulator.work_dir / "cache/user"
    first = path.stat().st_ino
    assert simulator.wait_for(lambda: path.stat().st_ino != first)
    assert json.loads(path.read_text())["machine"] == (simulator.work_dir / "cache/id").read_text()


async def test_a_silent_initialize_never_answers(start):
    async with start("--fault=F18").client(initialize=False) as client:
        await client.send("initialize", id="i")
        await client.send("simulator/report", id="r")
        assert (await client.receive())["id"] == "r"


async def test_a_script_file_gives_turns_one_by_one(start, tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"login": "auto", "first_ms": 0, "delay_ms": 0, "text": "rest",
                                  "turns": [{"text": "first"}, {"finish": 500}]}))  # fmt: skip
    async with start(f"--script={script}").client() as client:
        ends = [await client.chat("hello", f"r{number}") for number in range(3)]
        assert (await client.chat(f"[[sim: {QUICK} text=marked]]", "r9"))[0] == "marked"
    assert [(text, finish["statusCode"]) for text, finish in ends] == [("first", 200), ("rest", 500), ("rest", 200)]
