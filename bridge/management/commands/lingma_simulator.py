"""`manage.py lingma_simulator …`: the simulator with the argv of the Lingma executable."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from bridge.simulator.cli import main


class Command(BaseCommand):
    help = "A stand-in for the Lingma executable."

    def run_from_argv(self, argv: list[str]) -> None:
        """Django would refuse the executable's own flags."""
        sys.exit(main(argv[2:]))

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(main(["start"]))
