"""LangChain's standard integration tests, as its own packages run them."""

import base64
import os
from types import SimpleNamespace

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests, chat_models

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(autouse=True)
def files_from_here(monkeypatch):
    """The tests fetch their picture, document and sound from the internet; any will do."""
    contents = {"png": base64.b64decode(PNG), "pdf": b"%PDF-1.4\n%%EOF\n", "wav": b"RIFF0000WAVEfmt "}

    def get(url, **_):
        return SimpleNamespace(content=contents[url.rpartition(".")[2]])

    monkeypatch.setattr(chat_models, "httpx", SimpleNamespace(get=get))


BASE, KEY = os.environ["GATEWAY_BASE"], os.environ["GATEWAY_KEY"]


class Standard(ChatModelIntegrationTests):
    @property
    def supports_model_override(self):
        return True

    @property
    def model_override_value(self):
        return "dashscope_qwen3_coder"

    @property
    def supports_image_inputs(self):
        return True

    @property
    def supports_image_tool_message(self):
        return True

    @property
    def supports_pdf_inputs(self):
        return True

    @property
    def enable_vcr_tests(self):
        return False


class TestChat(Standard):
    chat_model_class = ChatOpenAI

    @property
    def chat_model_params(self):
        return {"model": "org_auto", "base_url": f"{BASE}/v1", "api_key": KEY, "max_retries": 0, "stream_usage": True}

    @property
    def supports_json_mode(self):
        return True

    @property
    def supports_audio_inputs(self):
        return True


class TestResponses(TestChat):
    @property
    def chat_model_params(self):
        return {**super().chat_model_params, "use_responses_api": True}


class TestAnthropic(Standard):
    chat_model_class = ChatAnthropic

    @property
    def chat_model_params(self):
        return {"model": "claude-sonnet-5", "base_url": BASE, "api_key": KEY, "max_retries": 0}

    @property
    def supports_anthropic_inputs(self):
        return True

    @property
    def supports_pdf_tool_message(self):
        return True
