"""Looking at processes that may end while one looks."""

import psutil


def command_line(process):
    """Its arguments; none when it has ended, reaped or not."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
