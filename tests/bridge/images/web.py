"""A web of hosts on this machine: each says byte for byte what a test wants, and a resolver knows their names."""

import asyncio
import datetime
import ssl
from contextlib import suppress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.images.fetch import FetchOptions
from gateway_project.lib.public_addresses import is_public

HERE = "127.0.0.1"


def reply(body=b"", status="200 OK", length=None, **headers):
    """An answer; `length` may lie, and is left out when it is False."""
    lines = [f"HTTP/1.1 {status}", *[f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]]
    if length is not False:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Web:
    """`pages` holds answers by path: bytes, or a coroutine function that gets the writer. `asked` has the heads."""

    def __init__(self):
        self.pages = {}
        self.asked = []
        self.looked_up = []
        self.hosts = {}
        self.port = 0
        self._servers = []
        self._open = set()

    async def serve(self, **options):
        server = await asyncio.start_server(self._talk, HERE, 0, **options)
        self._servers.append(server)
        self.port = server.sockets[0].getsockname()[1]
        return self.port

    async def close(self):
        for server in self._servers:
            server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def url(self, path, host="pictures.example", scheme="http"):
        return f"{scheme}://{host}:{self.port}{path}"

    async def resolve(self, host, port, key):
        self.looked_up.append(host)
        if host not in self.hosts:
            raise OSError("unknown")
        return self.hosts[host]

    def options(self, **more):
        ports = frozenset(server.sockets[0].getsockname()[1] for server in self._servers)
        return FetchOptions(
            **{"ports": ports, "resolve": self.resolve, "is_allowed": lambda a: a == HERE or is_public(a)} | more
        )

    async def _talk(self, reader, writer):
        task = asyncio.current_task()
        self._open.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head)
            page = self.pages[head.split()[1]]
            if isinstance(page, bytes):
                writer.write(page)
                await writer.drain()
            else:
                await page(writer)
        writer.close()
        self._open.discard(task)


def certificates(directory, host):
    """(context of a server of that name, file with the authority that vouches for it)."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - day).not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "server.pem").write_bytes(secret + certificate.public_bytes(pem))
    (directory / "authority.pem").write_bytes(certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    return context, str(directory / "authority.pem")
