"""Takes out of texts what must not be kept: a short list of forms that are well defined. Pure.

Each pattern takes linear time, whatever the text. A secret that has no such form stays; hence the encryption.
"""

from __future__ import annotations

import re
from typing import Final

from gateway_project.lib.secrets.redaction import BEFORE

PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----(?:[^-]|-(?!----)){0,16384}+(?:-----END [A-Z ]{0,32}PRIVATE KEY-----)?"
)
# Ours, OpenAI, Anthropic, Lingma, Stripe, GitHub, GitLab, Slack, AWS, Alibaba Cloud, Google, Hugging Face, npm, PyPI.
# Possessive quantifiers (`}+`) throughout: what does not match is not tried again from the middle.
API_KEY: Final = re.compile(
    BEFORE + r"(?:lgw_|sk[-_]|pt-|rt-|[rp]k_(?:live|test)_|gh[opusr]_|github_pat_|glpat-|xox[abeoprs]-"
    r"|AKIA|ASIA|LTAI|AIza|hf_|npm_|pypi-)[\w-]{12,}+"
)
JWT: Final = re.compile(BEFORE + r"eyJ[\w-]{8,}+(?:\.[\w-]+){1,4}+")
# With a digit: "bearer of" or "bearer authentication" is English.
BEARER: Final = re.compile(rf"(?i){BEFORE}(bearer[ \t]{{1,8}})(?=[^\s\d]{{0,64}}\d)[\w.~+/=-]{{12,}}+")
BASIC: Final = re.compile(rf"(?i){BEFORE}(authorization\b[^\w\n]{{1,8}}basic[ \t]{{1,8}})[\w+/=-]{{6,}}+")
# The last @ ends it; people write those of the password as they are. Behind a quote or a comma begins another text.
MORE_AT: Final = r"@[^\s/@\"'`<>(),;]{0,256}+(?=@)"
URL_PASSWORD: Final = re.compile(rf"(://[^\s:/@]{{0,256}}+:)(?=[^@]|{MORE_AT})[^\s/@]{{0,256}}+(?:{MORE_AT})*+(?=@)")
EMAIL: Final = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}+@(?:[\w-]{1,63}+\.){1,8}[A-Za-z]{2,24}\b")

Signs = tuple[str, ...]

KEYS: Final = (
    "lgw_", "sk-", "sk_", "pt-", "rt-", "k_live_", "k_test_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_",
    "glpat-", "xox", "akia", "asia", "ltai", "aiza", "hf_", "npm_", "pypi-",
)  # fmt: skip
# One of the signs, in lower case, is in every text that the pattern finds: to look for it costs a tenth of a search.
PATTERNS: Final[tuple[tuple[Signs, re.Pattern[str], str], ...]] = (
    (("private key-----",), PRIVATE_KEY, "[private key]"),
    (KEYS, API_KEY, "[API key]"),
    (("eyj",), JWT, "[token]"),
    (("bearer",), BEARER, r"\1[token]"),
    (("authorization",), BASIC, r"\1[token]"),
    (("://",), URL_PASSWORD, r"\1[password]"),
    (("@",), EMAIL, "[e-mail]"),
)


def redacted(text: str) -> str:
    """The text without API keys, tokens, private keys, passwords in URLs and e-mail addresses."""
    lowered = text.lower()
    for signs, pattern, words in PATTERNS:
        if any(map(lowered.__contains__, signs)):
            text = pattern.sub(words, text)
    return text
