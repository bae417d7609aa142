import json
from pathlib import Path

import pytest
from django.utils import translation

from accounts.explain.sentences import verdict
from accounts.ledger.row import UsageRow
from bridge.chat.events import FinishReason
from gateway_project.lib.translated import translated
from tests.accounts.explain.reasons import all_reasons, reasons_given

REASONS = sorted(all_reasons())
GOLDEN = Path(__file__).parents[2] / "golden" / "sentences.json"
"""By status and reason: the sentence and what to do, in English and in Chinese."""


def row(status="refused", reason="", **fields):
    fields = {"model": "qwen", "client": "10.0.0.7", "total_ms": 1500, **fields}
    return UsageRow(
        request_id="req_1", api_key_id=1, protocol="openai", endpoint="/v1", started_at=0, status=status,
        reason=reason, **fields,
    )  # fmt: skip


def texts(language, **fields):
    with translation.override(language):
        return tuple(map(translated, verdict(row(**fields))))


def test_reasons_are_found_in_the_code():
    assert {"model", "scope", "network", "crashing_prompt", "no_key", "keys_unavailable"} <= reasons_given()
    assert len(REASONS) > 35


@pytest.mark.parametrize("status", ["refused", "error"])
@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_has_a_sentence(reason, status):
    english, chinese = texts("en", status=status, reason=reason), texts("zh-hans", status=status, reason=reason)
    assert "for the reason" not in english[0]
    assert english[0].endswith(".")
    assert "%(" not in "".join((*english, *chinese))
    assert chinese[0].endswith("。")
    assert chinese[0] != english[0]
    assert bool(english[1]) == bool(chinese[1])
    assert english[1] != chinese[1] or not english[1]


def test_sentences_are_those_of_the_list(request):
    fields = {"limit_scope": "team", "allowed": 60, "value": 61}
    ends = [("ok", reason) for reason in FinishReason] + [("cancelled", "client_closed"), ("cancelled", "cancelled")]
    ends += [(status, reason) for status in ("refused", "error") for reason in REASONS]
    told = {}
    for status, reason in ends:
        how = {"status": status, "reason": reason, **fields}
        told[f"{status}: {reason}"] = [*texts("en", **how), *texts("zh-hans", **how)]
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n")
    assert told == json.loads(GOLDEN.read_text())


def test_two_reasons_never_share_a_sentence():
    sentences = {reason: verdict(row(reason=reason)).sentence for reason in REASONS if reason != "unknown_key"}
    assert len(set(sentences.values())) == len(sentences)


@pytest.mark.parametrize("reason", [*FinishReason, ""])
def test_each_good_end_has_a_sentence(reason):
    assert texts("en", status="ok", reason=reason)[0].startswith("Answered in ")
    assert texts("zh-hans", status="ok", reason=reason)[0].startswith("已")


@pytest.mark.parametrize(
    ("fields", "english", "chinese"),
    [
        (
            {"reason": "rpm", "limit_scope": "key", "allowed": 60, "value": 60, "retry_after": 12},
            "The limit of the key is reached: requests per minute, 60 of 60. It could be tried again 12 s later.",
            "密钥的限额已用满：每分钟请求数，60 / 60。 可在 12 秒后重试。",
        ),
        (
            {"reason": "requests_day", "limit_scope": "key", "allowed": 5, "value": 5, "retry_after": 51_720},
            "The limit of the key is reached: requests per day, 5 of 5. It could be tried again 14 h 22 min later.",
            "密钥的限额已用满：每天请求数，5 / 5。 可在 14 小时 22 分钟 后重试。",
        ),
        (
            {"reason": "tokens_month", "limit_scope": "team", "allowed": 5_000_000, "value": 5_000_312},
            "The limit of the team is reached: tokens per month, 5,000,312 of 5,000,000. ",
            "团队的限额已用满：每月 token 数，5,000,312 / 5,000,000。 ",
        ),
        (
            {"reason": "tokens_day", "limit_scope": "key", "allowed": 600, "value": 1130, "count": 3},
            "The limit of the key is reached: tokens per day, up to 1,130 of 600. ",
            "密钥的限额已用满：每天 token 数，最多 1,130 / 600。 ",
        ),
        (
            {"reason": "rpm", "limit_scope": "key", "allowed": 60, "value": 60, "count": 3},
            "The limit of the key is reached: requests per minute, 60 of 60. ",
            "密钥的限额已用满：每分钟请求数，60 / 60。 ",
        ),
        (
            {"reason": "concurrency"},
            "A limit of the key is reached: turns at once. ",
            "密钥的一项限额已用满：并发轮次。 ",
        ),
        (
            {"status": "cancelled", "reason": "client_closed", "first_token_ms": 3},
            "The client hung up after 1.5 s, before the answer was complete. ",
            "客户端在 1.5 s 后断开，回答尚未完成。 ",
        ),
        (
            {"status": "cancelled", "reason": "cancelled"},
            "Another request of the same key cancelled it. ",
            "已被同一密钥的另一请求取消。 ",
        ),
        (
            {"reason": "model"},
            "The key may not use the model qwen. Use a model that the key may use, or ask an operator.",
            "该密钥不可使用模型 qwen。 请使用该密钥可用的模型，或联系运维人员。",
        ),
        (
            {"reason": "model", "model": "", "count": 2},
            "The key may not use the models that were asked for. Use a model that the key may use, or ask an operator.",
            "该密钥不可使用所请求的这些模型。 请使用该密钥可用的模型，或联系运维人员。",
        ),
        (
            {"status": "error", "reason": "rate_limited"},
            "Lingma limits how much its account may ask. Send it again.",
            "Lingma 限制了其账号的请求量。 请重新发送。",
        ),
        ({"reason": "of_a_later_version"}, "It was refused for the reason of_a_later_version. ", None),
    ],
)  # fmt: skip
def test_sentence_has_the_figures(fields, english, chinese):
    assert " ".join(texts("en", **fields)) == english
    assert chinese is None or " ".join(texts("zh-hans", **fields)) == chinese


def test_percent_signs_of_a_model_do_no_harm():
    assert "100%(x)s" in texts("zh-hans", reason="model", model="100%(x)s")[0]
