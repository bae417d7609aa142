"""Where other web processes reach this one: a unix socket for those of its machine, TCP for others."""

from __future__ import annotations

import logging
import os
import socket
import ssl
from pathlib import Path

import msgspec

from gateway_project.lib.processes.unix_sockets import socket_path

logger = logging.getLogger(__name__)

BACKLOG = 512


class Tls(msgspec.Struct, frozen=True):
    """Files: this machine's certificate with its key, and the authority that signs those of all machines."""

    certificate: str = ""
    key: str = ""
    authority: str = ""

    def server(self) -> ssl.SSLContext | None:
        """What the listener shows and asks for; None without a certificate. Raise OSError or ssl.SSLError."""
        if not self.certificate:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority)
        context.load_cert_chain(self.certificate, self.key)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self) -> ssl.SSLContext | None:
        """The same for who connects."""
        if not self.certificate:
            return None
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.authority)
        context.load_cert_chain(self.certificate, self.key)
        return context


class Listener(msgspec.Struct, frozen=True):
    """A socket that listens, and how its connections are encrypted."""

    socket: socket.socket
    tls: ssl.SSLContext | None = None


class Listeners:
    """`open()` them; what is open is what is reported."""

    def __init__(self, directory: Path, process: int, host: str, port: int, tls: Tls) -> None:
        """`port` is that of the first process; 0: no TCP."""
        self.path = ""
        self.url = ""
        self._directory = directory
        self._process = process
        self._host = host
        self._port = port + process - 1 if port else 0
        self._tls = tls

    def open(self) -> list[Listener]:
        """Those that could be opened. The process goes on without the others: it only takes no turns there."""
        return [*self._open_unix(), *self._open_tcp()]

    def _open_unix(self) -> list[Listener]:
        opened = socket.socket(socket.AF_UNIX)
        try:
            path = socket_path(self._directory, f"peer-{self._process}")
            # A socket file outlives a process that was killed.
            path.unlink(missing_ok=True)
            # Whoever can connect may guess at the secret.
            before = os.umask(0o177)
            try:
                opened.bind(str(path))
            finally:
                os.umask(before)
            opened.listen(BACKLOG)
        except OSError as exc:
            opened.close()
            logger.warning("processes of this machine cannot hand turns over to this one: %s", exc.strerror)
            return []
        self.path = str(path)
        return [Listener(opened)]

    def _open_tcp(self) -> list[Listener]:
        if not self._port:
            return []
        try:
            tls = self._tls.server()
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            opened = socket.create_server((self._host, self._port), family=family, backlog=BACKLOG)
        except (OSError, ssl.SSLError) as exc:
            reason = exc.strerror or str(exc)
            logger.warning("other machines cannot hand turns over to this process: %s", reason)
            return []
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"{'https' if tls is not None else 'http'}://{host}:{self._port}"
        return [Listener(opened, tls)]
