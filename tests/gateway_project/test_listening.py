"""Which addresses a host and a port mean."""

import socket

import pytest

from gateway_project.env import SettingError
from gateway_project.supervise.preflight import listening
from tests.ports import free_port


def reached(host, port):
    with socket.create_connection((host, port), timeout=10):
        return True


@pytest.mark.parametrize("name", ["localhost", "LocalHost"])
def test_localhost_is_both_families(name):
    with listening(name, port := free_port()) as listeners:
        assert [each.getsockname()[0] for each in listeners] == ["127.0.0.1", "::1"]
        assert reached("127.0.0.1", port)
        assert reached("::1", port)


def test_the_address_of_all_addresses_is_both_families():
    with listening("::", port := free_port()) as listeners:
        assert len(listeners) == 1
        assert reached("127.0.0.1", port)
        assert reached("::1", port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
def test_an_address_is_one(host):
    with listening(host, free_port()) as listeners:
        assert [each.getsockname()[0] for each in listeners] == [host]


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_an_address_of_another_machine_blames_the_host(host):
    with pytest.raises(SettingError, match=r"HOST: cannot listen on .*Cannot assign"), listening(host, free_port()):
        pass


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid", "bad..name"])
def test_a_name_that_means_nothing_blames_the_host(host):
    with pytest.raises(SettingError, match=f"^HOST: cannot listen on {host}: ."), listening(host, free_port()):
        pass


def test_one_family_in_use_refuses_both():
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::1", port := free_port()))
        other.listen()
        with (
            pytest.raises(SettingError, match=rf"PORT: cannot listen on \[::1\]:{port}: Address already in use"),
            listening("localhost", port),
        ):
            pass
    with listening("localhost", port) as listeners:  # the first one was closed again
        assert len(listeners) == 2
