"""Where a process listens for others of this machine."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

LONGEST_PATH = 100  # bytes of a unix socket's name; the systems' limits are a little above


def socket_path(directory: Path, name: str) -> Path:
    """A socket in the data directory; where its path is too long for one, in a directory of our own."""
    path = directory / f"{name}.sock"
    if len(bytes(path)) <= LONGEST_PATH:
        return path
    name = hashlib.sha256(bytes(directory)).hexdigest()[:16]
    # By user and data directory: two gateways on one host must not meet here.
    own = Path(tempfile.gettempdir()) / f"lingma-gateway-{os.getuid()}-{name}"
    with suppress(FileExistsError):
        own.mkdir(mode=0o700)
    # Anybody may write to the temporary directory. `lstat`, as a link could lead to a directory that is ours.
    stat = own.lstat()
    if stat.st_uid != os.getuid() or stat.st_mode & 0o077 or own.is_symlink():
        raise PermissionError(f"{own} belongs to somebody else")
    return own / path.name
