"""Only the public internet, and only what the configuration names beside it."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.crawl.guard import RefusedAddressError, SocketGuard, is_private_host_allowed, is_public, refusal


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0",  # noqa: S104
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "100.127.255.255", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
        "255.255.255.255", "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "fe80::1",
        "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "ff0e::1", "2002:7f00:1::", "2002:a00:1::1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2001:db8::1", "2001:0:7f00:1::", "not an address", "",
    ],
)  # fmt: skip
def test_addresses_outside_the_public_internet_are_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "151.101.1.69", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_pass(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses())
def test_every_address_gets_a_verdict_and_its_mapped_form_the_same(address: object) -> None:
    verdict = is_public(str(address))
    if "." in str(address) and ":" not in str(address):
        assert is_public(f"::ffff:{address}") == verdict


def test_the_guard_refuses_when_the_socket_is_made() -> None:
    guard = SocketGuard(private_allowed=False)
    with pytest.raises(RefusedAddressError):
        guard((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)))
    assert guard.refused == "127.0.0.1"
    guard((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80))).close()
    SocketGuard(private_allowed=True)((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))).close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/", "private_address"),
        ("http://[::1]/", "private_address"),
        ("http://[::ffff:127.0.0.1]/", "private_address"),
        ("http://localhost/", "private_address"),
        ("http://api.localhost/", "private_address"),
        ("http://169.254.169.254/latest/meta-data", "private_address"),
        ("file:///etc/passwd", "bad_url"),
        ("ftp://example.org/", "bad_url"),
        ("http://user@example.org/", "bad_url"),
        ("http://example.org:22/", "bad_url"),
        ("http://example.org:99999/", "bad_url"),
        ("http://[broken/", "bad_url"),
        ("http://example.org/", None),
        ("https://example.org:443/", None),
    ],
)
def test_urls_are_refused_before_a_connection_is_made(url: str, reason: str | None) -> None:
    assert refusal(url, ()) == reason


def test_the_allowlist_names_hosts_as_written() -> None:
    assert is_private_host_allowed("http://127.0.0.1:8000/x", ("127.0.0.1",))
    assert is_private_host_allowed("http://127.0.0.1:8000/x", ("127.0.0.1:8000",))
    assert not is_private_host_allowed("http://127.0.0.1:8001/x", ("127.0.0.1:8000",))
    # A name that resolves to an allowed address is not allowed by it.
    assert not is_private_host_allowed("http://localhost:8000/x", ("127.0.0.1",))
    assert refusal("http://127.0.0.2/", ("127.0.0.1",)) == "private_address"
