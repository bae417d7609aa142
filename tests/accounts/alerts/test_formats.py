"""Each format against what its receiver documents."""

import base64
import hashlib
import hmac
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from accounts.alerts.formats import Message, call_for, cut, failure

NOW = 1_599_360_473.25
MESSAGE = Message("Two alerts", ["[critical] 登录", "over"], [{"id": 1, "event": "began"}])


def test_webhook_is_signed_over_time_and_body():
    call = call_for("webhook", "https://a.example/x", "s3cret", MESSAGE, NOW)
    assert json.loads(call.body) == {
        "type": "alerts", "sent_at": 1_599_360_473, "title": "Two alerts", "alerts": [{"id": 1, "event": "began"}],
    }  # fmt: skip
    signed = hmac.new(b"s3cret", b"1599360473." + call.body, hashlib.sha256).hexdigest()
    assert call.headers["X-Lingma-Gateway-Timestamp"] == "1599360473"
    assert call.headers["X-Lingma-Gateway-Signature"] == f"sha256={signed}"
    assert "X-Lingma-Gateway-Signature" not in call_for("webhook", "https://a.example/x", "", MESSAGE, NOW).headers


def test_dingtalk_is_signed_in_its_address():
    url = "https://oapi.dingtalk.com/robot/send?access_token=t"
    call = call_for("dingtalk", url, "SECabc", MESSAGE, NOW)
    query = {name: value for name, (value,) in parse_qs(urlsplit(call.url).query).items()}
    key = hmac.new(b"SECabc", b"1599360473250\nSECabc", hashlib.sha256).digest()
    assert query == {"access_token": "t", "timestamp": "1599360473250", "sign": base64.b64encode(key).decode()}
    assert json.loads(call.body) == {"msgtype": "text", "text": {"content": "Two alerts\n[critical] 登录\nover"}}
    assert call_for("dingtalk", url, "", MESSAGE, NOW).url == url


def test_feishu_is_signed_in_its_body():
    call = call_for("feishu", "https://open.feishu.cn/open-apis/bot/v2/hook/x", "demo", MESSAGE, NOW)
    sign = base64.b64encode(hmac.new(b"1599360473\ndemo", b"", hashlib.sha256).digest()).decode()
    assert json.loads(call.body) == {
        "timestamp": "1599360473", "sign": sign, "msg_type": "text", "content": {"text": MESSAGE.text},
    }  # fmt: skip
    unsigned = json.loads(call_for("feishu", "https://a.example", "", MESSAGE, NOW).body)
    assert unsigned.keys() == {"msg_type", "content"}


def test_wecom_takes_a_short_text():
    long = Message("登录" * 2_000, [], [])
    body = json.loads(call_for("wecom", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=k", "", long, NOW).body)
    assert (body["msgtype"], len(body["text"]["content"].encode()) <= 2_048) == ("text", True)
    assert body["text"]["content"].endswith("录…") or body["text"]["content"].endswith("登…")


@pytest.mark.parametrize("kind", ["dingtalk", "feishu"])
def test_body_is_smaller_than_20_kb(kind):
    assert len(call_for(kind, "https://a.example", "s", Message("录" * 20_000, [], []), NOW).body) < 20_000


@pytest.mark.parametrize(
    ("kind", "status", "body", "why"),
    [
        ("webhook", 204, b"", ""),
        ("webhook", 302, b"", "status 302"),
        ("dingtalk", 200, b'{"errcode":0,"errmsg":"ok"}', ""),
        ("dingtalk", 200, b'{"errcode":310000,"errmsg":"sign not match"}', "errcode 310000: sign not match"),
        ("feishu", 200, b'{"code":0,"msg":"success","data":{}}', ""),
        ("feishu", 200, b'{"code":19021,"msg":"sign match fail"}', "code 19021: sign match fail"),
        ("wecom", 200, b'{"errcode":45009,"errmsg":"api freq out of limit"}', "errcode 45009: api freq out of limit"),
        ("wecom", 200, b"<html>", "an answer that is none of its kind"),
        ("feishu", 200, b"[]", "an answer that is none of its kind"),
        ("wecom", 500, b"", "status 500"),
    ],
)
def test_answer_says_whether_it_arrived(kind, status, body, why):
    assert failure(kind, status, body) == why


@pytest.mark.parametrize("most", range(3, 10))
def test_characters_are_never_cut_through(most):
    assert len(cut("登a录b录", most).encode()) <= most
