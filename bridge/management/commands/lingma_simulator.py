"""`manage.py lingma_simulator …`: the simulator with the argv of the Lingma executable."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from bridge.simulator.cli import main


class Command(BaseCommand):
    """A pass-through: all arguments belong to the simulator."""

    help = "A stand-in for the Lingma executable."

    def run_from_argv(self, argv: list[str]) -> None:
        """Django would refuse the executable's own flags."""
        sys.exit(main(argv[2:]))

    def handle(self, *args: Any, **options: Any) -> None:
        """Start with the defaults, for `call_command`."""
        sys.exit(main(["start"]))
