"""What the words of vendors mean, whatever code came with them."""

import json

import pytest

from bridge.chat import errors
from bridge.lingma.dialects import reasons
from bridge.lingma.dialects.a.endings import error_of
from bridge.lingma.dialects.a.messages import FinishParams
from bridge.wire.anthropic import format as anthropic
from bridge.wire.openai import format as openai
from bridge.wire.responses import format as responses

FULL = [
    ("prompt is too long: 213462 tokens > 200000 maximum", 213462, 200000),
    ("input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000, decrease …", 207951, 200000),
    ("This model's maximum context length is 65536 tokens. However, you requested 69648 tokens (69648 in the messages, "
     "0 in the completion). Please reduce the length of the messages or completion.", 69648, 65536),
    ("This model's maximum context length is 16384 tokens. However, you sent 18225 input tokens.", 18225, 16384),
    ("Requested token count exceeds the model's maximum context length of 131072 tokens. You requested a total of "
     "140000 tokens: 120000 tokens from the input messages and 20000 tokens for the completion.", 140000, 131072),
    ("Your input exceeds the context window of this model. Please adjust your input and try again.", 0, 0),
    ("Range of input length should be [1, 129024]", 0, 129024),
    ("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]", 0, 30720),
    ("InvalidParameter: Input data may exceed the max length", 0, 0),
    ("Total message token length exceed model limit", 0, 0),
    ("Total tokens of image and text exceed max message tokens.", 0, 0),
    ("OutofContextError", 0, 0),
    ("Input length 140000 exceeds the maximum length 131072", 140000, 131072),
    ("Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).", 160062, 59862),
    ("The input token count (1196265) exceeds the maximum number of tokens allowed (1048575)", 1196265, 1048575),
    ("Invalid request: Your request exceeded model token limit: 262144 (requested: 291351)", 291351, 262144),
    ("invalid params, context window exceeds limit (2013)", 0, 0),
    ("Prompt exceeds max length", 0, 0),
    ("model_context_window_exceeded", 0, 0),
    ("context_length_exceeded", 0, 0),
    ("This model's maximum prompt length is 131072 but the request contains 537812 tokens", 537812, 131072),
    ("Please reduce the length of the messages or completion.", 0, 0),
    ("prompt token count of 213462 exceeds the limit of 200000", 213462, 200000),
    ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
     40000, 32768),
    ("request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it", 5000, 4096),
    ("tokens to keep from the initial prompt is greater than the context length", 0, 0),
    ("prompt too long; exceeded max context length by 1200 tokens", 0, 0),
    ("The decoder prompt (length 9000) is longer than the maximum model length of 8192.", 9000, 8192),
    ("The input (9,000 tokens) is longer than the model's context length (8,192 tokens).", 9000, 8192),
    ("Input is too long for requested model.", 0, 0),
    ("too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000.", 5000, 4081),
    ("the max input characters is 20000", 0, 20000),
    ("Request Entity Too Large", 0, 0),
    ("上下文过长,请开启新的会话", 0, 0),
    ("输入长度超过模型上下文长度限制", 0, 0),
    ("请求的 token 数超出最大上下文 131072", 0, 131072),
]  # fmt: skip
OTHER = [
    "", "success", "error", "timeout", "invalid_request_error: messages[0].role is not known",
    "Too many requests, you are sending 70 requests per minute",
    "Rate limit reached: tokens per minute exceed the limit of 1000000",
    "Too many tokens, please wait before trying again.", "You exceeded your current quota, please check your plan",
    "Range of max_tokens should be [1, 8192]", "The size of the input image exceeds the limit",
    "max_tokens must be at most 8192",
    "Session blocked, Please clear context try again", "Unknown sse issue", "The function name exceeds 64 characters",
    "使用次数超过限制", "请求频率超过限制", "Input or output data may contain inappropriate content.",
]  # fmt: skip
CODES = [0, 200, 400, 403, 418, 429, 500, 602, 604, 40505, 90000]


@pytest.mark.parametrize(("words", "requested", "most"), FULL, ids=lambda value: str(value)[:40])
def test_full_context_is_known_by_every_vendors_words(words, requested, most):
    error = reasons.context_full(words)
    assert error is not None
    assert (error.status, error.code, error.retryable) == (400, "context_length_exceeded", False)
    assert (error.requested, error.most) == (requested, most)


@pytest.mark.parametrize("words", OTHER, ids=lambda value: value[:40])
def test_other_reasons_do_not_mean_full_context(words):
    assert reasons.context_full(words) is None


@pytest.mark.parametrize("code", [code for code in CODES if code != 200])
def test_the_reason_decides_whatever_the_code(code):
    full = error_of(FinishParams("r", statusCode=code, reason="prompt is too long: 300000 tokens > 200000 maximum"))
    assert type(full) is errors.ContextFull
    assert type(error_of(FinishParams("r", statusCode=code, reason="odd"))) is not errors.ContextFull


@pytest.mark.parametrize(
    "words", ["a" * 100_000, "input " * 20_000, "prompt exceed " * 9_000, "max 1 " * 20_000, "1" * 99_999]
)
def test_reason_of_any_size_costs_bounded_work(words):
    assert reasons.read(words, errors.UpstreamFailed("x")).status in {400, 502}  # the test's time limit is the bound
    assert reasons.read(words, errors.RateLimited("x")).status in {400, 429}


@pytest.mark.parametrize(
    ("code", "reason", "kind", "error_code"),
    [
        (112, "https://example.com/pricing", errors.NoPlan, "insufficient_quota"),
        (10011, "", errors.NoPlan, "insufficient_quota"),
        (403, '{"code":112,"message":"https://example.com/pricing"}', errors.NoPlan, "insufficient_quota"),
        (403, "remote status 10010", errors.RateLimited, None),
        (403, "not authorised", errors.Forbidden, None),
        (403, "room 112", errors.Forbidden, None),
        (403, '{"isQueued": true, "retryAfterSeconds": 7}', errors.RateLimited, None),
        (403, '{"isQueued": false}', errors.Forbidden, None),
        (418, '{"code":"10605"} Unknown sse issue', errors.RateLimited, None),
        (418, "Unknown sse issue", errors.UpstreamFailed, None),
        (110, "", errors.RateLimited, None),
        (10010, "", errors.RateLimited, None),
        (10605, "{}", errors.RateLimited, None),
    ],
)
def test_lasting_failures_are_final_and_passing_ones_retryable(code, reason, kind, error_code):
    error = error_of(FinishParams("r", statusCode=code, reason=reason))
    assert (type(error), error.code) == (kind, error_code)
    assert error.retryable is not issubclass(kind, errors.Forbidden)


USED_UP = [
    "insufficient_quota: You exceeded your current quota, please check your plan and billing details.",
    "Free allocated quota exceeded.", "Throttling.AllocationQuota: Free allocated quota exceeded.",
    "AllocationQuota.FreeTierOnly: The free tier of the model has been exhausted.",
    "Arrearage: Access denied, please make sure your account is in good standing.",
    "Your credit balance is too low to access the API.", "Insufficient Balance",
    "额度已用完", "您的免费额度已用尽", "账户余额不足",
]  # fmt: skip
FILTERED = [
    "<400> InternalError.Algo.DataInspectionFailed: Input data may contain inappropriate content.",
    "Output data may contain inappropriate content.", "Unknown sse issue. data_inspection_failed",
    "The response was filtered due to the prompt triggering the content management policy.",
    "输入内容包含敏感信息", "您的内容违规", "内容安全审核未通过",
]  # fmt: skip
PASSING = [
    "Allocated quota exceeded, please increase your quota limit.",
    "Requests rate limit exceeded, please try again later.",
    "You exceeded your current quota: 10 requests per minute", "You exceeded your current quota. Please retry in 12s.",
    "Resource has been exhausted (e.g. check quota).", "quota", "请求频率超过限制",
]  # fmt: skip


@pytest.mark.parametrize("code", [400, 403, 418, 429, 500, 110])
@pytest.mark.parametrize("words", USED_UP)
def test_quota_that_is_used_up_is_final(words, code):
    error = error_of(FinishParams("r", statusCode=code, reason=words))
    assert (type(error), error.code, error.retryable) == (errors.NoPlan, "insufficient_quota", False)
    assert error.retry_after is None
    assert "rate limit" not in error.message.lower()


@pytest.mark.parametrize("code", [400, 403, 418, 429, 500])
@pytest.mark.parametrize("words", FILTERED)
def test_filtered_content_is_known_by_every_vendors_words(words, code):
    error = error_of(FinishParams("r", statusCode=code, reason=words))
    assert (type(error), error.status, error.retryable) == (errors.ContentFiltered, 400, False)


@pytest.mark.parametrize("words", ["try again in 2 days", "retry in 1 day", "请 2 天后重试", "retry in 36h0m0s"])
def test_quota_that_is_away_for_days_is_final(words):
    assert type(error_of(FinishParams("r", statusCode=429, reason=f"insufficient quota, {words}"))) is errors.NoPlan


@pytest.mark.parametrize("words", ["try again in 5 minutes", "请 2 小时后重试", "retry after 0"])
def test_quota_that_is_back_soon_is_not(words):
    error = error_of(FinishParams("r", statusCode=429, reason=f"insufficient quota, {words}"))
    assert type(error) is errors.RateLimited


@pytest.mark.parametrize("words", PASSING)
def test_quota_that_comes_back_may_be_retried(words):
    assert type(error_of(FinishParams("r", statusCode=429, reason=words))) is errors.RateLimited


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [
        ("please retry after 30 s", 30),
        ("try again in 1.5s", 2),
        ("try again in 20ms", 1),
        ("retry in 2 min", 120),
        ("Retry-After: 7", 7),
        ("请在 12 秒后重试", 12),
        ('{"isQueued":true,"queueCount":40,"retryAfterSeconds":25,"waitTime":90}', 25),
        ('{"isQueued":true,"queueCount":900,"retryAfterSeconds":300,"waitTime":900}', 300),
        ("retry after 86400", 3600),
        ("retry after 0", 1),
        ("try again in 2 hours", 3600),
        ("请在 2 小时后重试", 3600),
        ("请 1 分钟之后再试", 60),
        ("try again in 2 days", 3600),
        ("try again in 1 week", 3600),
        ("请在 2 天后重试", 3600),
        ("请 1 个小时后重试", 3600),
        ("请 5 分后重试", 300),
        ("Please try again in 7m12s.", 432),
        ("Please try again in 6m0s", 360),
        ("try again in 1m 2.5s", 63),
        ("try again in 1 minute and 30 seconds", 90),
        ("try again in 59m59.5s", 3600),
        ("请 1分30秒后重试", 90),
        ("retry in 30 sec", 30),
        ("retry in 30 moments", 30),
        ("wait 12 mississippi", 12),
        ("retry after " + "9" * 3000, 3600),
        ("slow down", None),
    ],
)
def test_retry_time_is_the_services_own(reason, seconds):
    assert error_of(FinishParams("r", statusCode=429, reason=reason)).retry_after == seconds


QUEUE = (
    '{"isQueued":true,"modelKey":"m","queueCount":3,"queueType":"q","retryAfterSeconds":7,"serviceAvailable":true,'
    '"waitTime":30}'
)
NO_PLAN = (403, "insufficient_quota", "permission_error", "insufficient_quota")
LIMITED = (429, "rate_limit_error", "rate_limit_error", "rate_limit_exceeded")


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["alone", "inside a 403"])
@pytest.mark.parametrize(
    ("code", "reason", "seen", "seconds"),
    [
        (112, "https://example.com/pricing", NO_PLAN, None), (10011, "no usable plan", NO_PLAN, None),
        (110, "", LIMITED, None), (10010, "retry after 3 s", LIMITED, 3), (10605, QUEUE, LIMITED, 7),
        (10605, '{"waitTime":30,"retryAfterSeconds":9}', LIMITED, 9), (10605, '{"waitTime":30}', LIMITED, 30),
    ],
)  # fmt: skip
def test_every_format_tells_what_a_code_means(code, reason, seen, seconds, is_wrapped):
    status, openai_type, anthropic_type, openai_code = seen
    given = (403, f'{{"code":"{code}","message":{reason}}}') if is_wrapped else (code, reason)
    error = error_of(FinishParams("r", statusCode=given[0], reason=given[1]))
    assert (error.retry_after, error.retryable) == (seconds, status == 429)
    for wire, kind in (
        (openai.FORMAT, openai_type),
        (responses.FORMAT, openai_type),
        (anthropic.FORMAT, anthropic_type),
    ):
        found_status, body = wire.error(error, "0" * 32)
        found = json.loads(body)["error"]
        assert (found_status, found["type"]) == (status, kind)
        assert found.get("code", openai_code) == openai_code
