import pytest

from accounts.keys.networks import is_within, networks_in


@pytest.mark.parametrize(
    ("networks", "address", "within"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.7/8", "10.1.2.3", True),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::/32", "10.1.2.3", False),
        ("0.0.0.0/0", "", False),
        ("0.0.0.0/0", "testclient", False),
        ("", "10.1.2.3", False),
    ],
)
def test_address_is_within_its_networks(networks, address, within):
    assert is_within(networks_in(networks.split()), address) is within
