"""The version of the gateway, as pyproject.toml has it too."""

VERSION = "0.1.0"
