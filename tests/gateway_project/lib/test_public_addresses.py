"""Which addresses a fetch may go to."""

import pytest

from gateway_project.lib.public_addresses import is_public

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.1", "100.63.0.1", "100.128.0.1",
          "168.63.129.17", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::200e", "2400:3200::1"]  # fmt: skip
NOT_PUBLIC = {
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "loopback": ["127.0.0.1", "127.255.0.1", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd00:ec2::254"],
    "link-local": ["169.254.0.1", "169.254.169.254", "fe80::1", "fe80::1%eth0"],
    "carriers": ["100.64.0.1", "100.100.100.200", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.0.0.192", "4000::1", "100::1", "fec0::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarks": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1"],
    "translated": ["64:ff9b::a00:1", "64:ff9b::808:808", "64:ff9b:1::1", "::ffff:0:8.8.8.8"],
    "tunnelled": ["2002:7f00:1::1", "2002:808:808::1", "2001:0:4136:e378::1", "192.88.99.1"],
    "metadata of a cloud": ["168.63.129.16"],
    "no address": ["", "localhost", "127.1", "2130706433", "0x7f000001", "1.2.3.4.5", "8.8.8.8:80", "2606::1%1"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public(address):
    assert is_public(address)


@pytest.mark.parametrize(("kind", "address"), [(kind, each) for kind, those in NOT_PUBLIC.items() for each in those])
def test_every_other_address_is_not(kind, address):
    assert not is_public(address), kind
