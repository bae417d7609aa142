"""A door in front of a server that sync tests cut and silence; and an authority for one that speaks TLS."""

import asyncio
import datetime
import ipaddress
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.trials import doors


class Door:
    """The door of the trials, in a thread of its own. Use as a context."""

    def __init__(self, target, *, tls=None):
        self._door = doors.Door(target, tls)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self):
        self._thread.start()
        self._wait(self._door.__aenter__())
        self.port = self._door.port
        return self

    def __exit__(self, *_):
        self._wait(self._door.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def _do(self, name):
        async def act():
            getattr(self._door, name)()

        self._wait(act())

    def swallow(self):
        """Nothing arrives any more, and nobody is told."""
        self._do("swallow")

    def heal(self):
        """New connections pass again; those that were silent stay so."""
        self._do("heal")

    def cut(self):
        """Reset every connection; new ones pass."""
        self._do("cut")


class Authority:
    """A certificate authority nobody knows. Its files, and a server's for 127.0.0.1, lie in the directory."""

    def __init__(self, directory):
        self._directory = directory
        self.ca_file = directory / "ca.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "An authority of its own")])
        self.ca_file.write_bytes(_pem(self._signed(self._key, self._name, ca=True)))
        self.certificate = self.sign("127.0.0.1")

    def sign(self, address):
        """A file with a certificate for that address, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, address)])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = self._directory / f"{address}.pem"
        file.write_bytes(private + _pem(self._signed(key, name, address=address)))
        return file

    def server(self, *, of_clients=False):
        """A context that serves with the certificate, and may demand one of the authority's from clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        if of_clients:
            context.load_verify_locations(self.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _signed(self, key, name, *, address="127.0.0.1", ca=False):
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder(self._name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False)
            # Python 3.13 asks for these (RFC 5280 4.2.1.1, 4.2.1.3).
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(_may_sign(ca), critical=True)
        )
        return builder.sign(self._key, hashes.SHA256())


def _may_sign(ca):
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=ca, crl_sign=ca, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)
