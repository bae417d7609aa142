"""The process edge of `make run`: exit 0 after a stop, exit 2 with one line when the gateway cannot start."""

import asyncio
import sys

from gateway_project.env import SettingError, load
from gateway_project.supervise.supervisor import supervise


def main() -> int:
    """Run until stopped."""
    try:
        asyncio.run(supervise(load()))
    except SettingError as exc:
        sys.stderr.write(f"lingma-gateway: {exc}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
