"""Payloads out, meanings in."""

import json

import msgspec
import pytest

from bridge.chat import errors
from bridge.chat.request import AUTO
from bridge.lingma.dialects.a.dialect import DialectA
from bridge.lingma.dialects.a.endings import error_of
from bridge.lingma.dialects.a.messages import FinishParams, decode_auth_status
from bridge.lingma.dialects.base import Ask, AskTools, Model

DIALECT = DialectA()
REPLY = Ask("r1", "s1", "Hello", "org_auto", is_reply=True)
COMMON = {
    "requestId": "r1",
    "sessionId": "s1",
    "stream": True,
    "source": 1,
    "isReply": True,
    "taskDefinitionType": "system",
    "questionText": "Hello",
    "codeLanguage": "",
    "shellType": "",
    "targetAgent": "",
    "customModel": None,
    "pluginPayloadConfig": {"isEnableAutoMemory": False, "isEnableAskAgent": False, "isEnableProjectRule": False},
    "extra": {"context": [], "modelConfig": {"key": "org_auto"}},
    "chatContext": {"text": "Hello", "preferredLanguage": "zh-CN", "localeLang": "zh-CN"},
}
PROFILES = {
    "chat": {"sessionType": "chat", "chatTask": "FREE_INPUT", "mode": "chat"},
    "agent": {"sessionType": "ask", "chatTask": "chat", "mode": "agent"},
}


def params_of(call):
    _, params = call
    return params


def asked(ask, overrides):
    method, params = DialectA(overrides).ask(ask)
    assert method == "chat/ask"
    return params


@pytest.mark.parametrize("mode", ["chat", "agent"])
def test_question_has_exactly_the_payload_of_its_mode(mode):
    ask = msgspec.structs.replace(REPLY, mode=mode)
    assert asked(ask, {}) == COMMON | PROFILES[mode]


def test_a_first_turn_is_no_reply():
    assert asked(Ask("r", "s", "Hi", "m"), {})["isReply"] is False


def test_overrides_change_the_payload_of_their_mode_only():
    overrides = {"chat": {"taskDefinitionType": "", "closeTypewriter": True}}
    chat = asked(REPLY, overrides)
    assert (chat["taskDefinitionType"], chat["closeTypewriter"]) == ("", True)
    assert asked(msgspec.structs.replace(REPLY, mode="agent"), overrides) == COMMON | PROFILES["agent"]


def test_initialize_names_a_workspace():
    params = params_of(DIALECT.initialize("/data/w1-i1"))
    assert params["workspaceFolders"] == [{"uri": "file:///data/w1-i1", "name": "workspace"}]
    assert params["rootUri"] == "file:///data/w1-i1"


@pytest.mark.parametrize(
    ("result", "version"),
    [
        (b'{"serverInfo":{"name":"lingma","version":"2.11.1"},"capabilities":{}}', "2.11.1"),
        (b'{"serverInfo":{"name":"lingma"}}', ""),
        (b"{}", ""),
        (b"null", ""),
        (b'{"serverInfo":"x"}', ""),
    ],
)
def test_version_is_sent_when_known(result, version):
    assert DIALECT.version_of(result) == version


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.LoggedOut),
        (403, errors.Forbidden),
        (406, errors.ContentFiltered),
        (408, errors.UpstreamTimeout),
        (418, errors.UpstreamFailed),
        (429, errors.RateLimited),
        (500, errors.UpstreamFailed),
        (601, errors.ContentFiltered),
        *[(code, errors.UpstreamFailed) for code in (409, 602, 604, 605, 31404, 40505, 90000, 0, None, "odd", 299)],
        ("429", errors.RateLimited),
    ],
)
def test_every_finish_code_has_its_kind_of_error(code, kind):
    assert type(error_of(FinishParams("r", statusCode=code))) is kind


@pytest.mark.parametrize("code", [200, "200"])
@pytest.mark.parametrize("reason", [None, "success", "cancelled"])
def test_code_200_is_a_success(code, reason):
    assert error_of(FinishParams("r", statusCode=code, reason=reason)) is None


def test_filtered_content_keeps_code_and_reason():
    error = error_of(FinishParams("r", statusCode=406, reason="Session blocked"))
    assert error.code == "content_filter"
    assert error.message.endswith("It said: Session blocked")
    assert len(error_of(FinishParams("r", statusCode=500, reason="x" * 9999)).message) < 300


SCENES = {
    "assistant": [{"key": "other", "displayName": "Other"}],
    "chat": [
        {"key": "org_auto", "displayName": "Auto", "model": "", "isDefault": True, "url": "", "apiKey": ""},
        {"key": "dashscope_qwen3_coder", "displayName": "qwen3-coder"},
        {"key": "org_auto", "displayName": "Auto"},
    ],
}


def models(value):
    return [(model.key, model.display_name) for model in DIALECT.models_of(json.dumps(value).encode())]


def test_models_are_those_of_chat_scene_once_each():
    assert models(SCENES) == [("org_auto", "Auto"), ("dashscope_qwen3_coder", "qwen3-coder")]


def test_model_lists_its_abilities():
    expected = {
        "key": "m",
        "displayName": "M",
        "isVl": True,
        "isReasoning": True,
        "isDefault": True,
        "maxInputTokens": 9,
    }
    odd = {"key": "o", "displayName": "O", "isVl": "yes", "isReasoning": None, "maxInputTokens": "9"}
    assert DIALECT.models_of(json.dumps({"chat": [expected, odd]}).encode()) == [
        Model("m", "M", sees_images=True, is_reasoning=True, is_default=True, max_input_tokens=9),
        Model("o", "O"),
    ]


@pytest.mark.parametrize("most", [-1, 10**20, 1.5, True])
def test_odd_size_of_a_model_is_none(most):
    """Beyond 64 bits no other process could be told of the model, nor of any other."""
    [found] = DIALECT.models_of(json.dumps({"chat": [{"key": "m", "name": "M", "maxInputTokens": most}]}).encode())
    assert found.max_input_tokens == 0


@pytest.mark.parametrize(
    "value",
    [
        {"scenes": {"chat": {"list": [{"id": "m1", "name": "One"}, {"modelId": "m2", "title": "Two"}]}}},
        [{"id": "m1", "label": "One"}, {"key": "m2", "displayName": "Two"}],
        {"chat": [], "groups": [[{"key": "m1", "name": "One"}], {"x": {"id": "m2", "name": "Two"}}]},
    ],
)
def test_item_with_id_and_name_is_a_model(value):
    assert models(value) == [("m1", "One"), ("m2", "Two")]


@pytest.mark.parametrize("value", [{}, None, [], "x", {"chat": []}, {"chat": None, "id": 5}])
def test_answer_without_models_gives_none(value):
    assert models(value) == []


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"status": 2}, "logged_in"),
        ({"status": "2", "whitelist": 3}, "logged_in"),
        ({"status": 2, "whitelist": 0}, "logged_in"),
        ({"status": 2, "whitelist": None}, "logged_in"),
        ({"status": 2, "whitelist": 1}, "not_listed"),
        ({"status": 2, "whitelist": "2"}, "waiting_for_approval"),
        ({"status": 2, "whitelist": 4}, "unknown"),
        ({"status": 2, "whitelist": 5}, "no_licence"),
        ({"status": 1, "whitelist": 5}, "logged_out"),
        ({"status": 3}, "expired"),
        ({"status": 4}, "error"),
        ({"status": 5}, "network_error"),
        ({"status": 6}, "address_refused"),
        ({"status": 7}, "app_disabled"),
        ({"status": 8}, "error"),
        ({"status": None}, "error"),
        ({}, "error"),
    ],
)
def test_states_of_the_account_are_told_apart(fields, state):
    body = msgspec.json.encode({**fields, "id": "593", "token": "pt-secret"})
    assert DIALECT.account_of(body).state == state


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1782107060847, 1782107060.847), ("1782107060847", 1782107060.847), (0, 0), (-5, 0), ("", 0),
        (253_402_214_400_000, 0), ("999999999999999", 0), (10**18, 0),
    ],
)  # fmt: skip
def test_end_of_a_login_is_read(value, seconds):
    assert DIALECT.account_of(msgspec.json.encode({"status": 2, "expireTime": value})).expires_at == seconds


def test_tokens_of_the_login_are_never_kept():
    status = decode_auth_status(b'{"status":2,"token":"pt-secret","refreshToken":"rt-secret"}')
    assert "secret" not in repr(status)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (b'{"requestId":"r","success":true,"isSuccess":true}', None),
        (b"null", None),
        (b'"odd"', None),
        (b"{}", None),
        (b'{"success":false,"errorMessage":"no quota"}', "no quota"),
        (b'{"isSuccess":false}', "the service did not take the question"),
    ],
)
def test_immediate_result_counts_only_as_a_failure(result, words):
    assert DIALECT.refusal_of(result) == words


def test_images_and_tools_go_along_only_if_any():
    with_both = msgspec.structs.replace(
        REPLY, image_urls=("https://a/1", "https://a/2"), tools=AskTools("openai", (), AUTO)
    )
    params = asked(with_both, {})
    assert params["chatContext"]["imageUrls"] == ["https://a/1", "https://a/2"]
    assert params["toolConfig"] == {"provider": "openai", "tools": [], "tool_choice": "auto"}
    assert asked(with_both, {"chat": {"toolConfig": None}})["toolConfig"] is None


def test_a_tool_that_gave_nothing_is_no_success():
    _, expected = DIALECT.no_tool_result("call-1", "read_file", "why")
    assert expected == {
        "toolCallId": "call-1",
        "name": "read_file",
        "success": False,
        "errorMessage": "why",
        "result": {},
    }


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        ([{"a": 1}], {"a": 1}),
        ([{"a": 1}, {"b": 2}], {"results": [{"a": 1}, {"b": 2}]}),
        ("text", {"content": "text"}),
        (["text"], {"content": "text"}),
    ],
)
def test_returned_result_is_always_an_object(result, expected):
    _, answer = DIALECT.tool_result("call-1", "read_file", json.dumps(result).encode())
    assert (answer["success"], answer["errorMessage"], answer["result"]) == (True, "", expected)
