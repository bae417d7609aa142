#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from gateway_project.env import SettingError, load
from gateway_project.lib.prometheus_values import install_fast_values


def main() -> None:
    """Run a management command, once the environment makes sense."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    install_fast_values()
    from django.conf import settings
    from django.core.management import execute_from_command_line

    from gateway_project.databases import relax_deadlines

    try:
        load()
        relax_deadlines(settings.DATABASES)
        execute_from_command_line(sys.argv)
    except SettingError as exc:
        sys.exit(f"lingma-gateway: {exc}")


if __name__ == "__main__":
    main()
