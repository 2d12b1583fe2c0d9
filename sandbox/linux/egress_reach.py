"""Which addresses the supervisor may dial for a name: the answer to DNS rebinding. Pure.

The policy allows names, but whoever owns a name decides where it points. A name that points at the machine
itself, at its cloud's metadata service or into its private network would turn the allow-list into a way in,
so such addresses are dialled only where the policy lists the address itself, or its network.

Source: the IANA special-purpose address registries (RFC 6890); RFC 6052, RFC 8215, RFC 2765, RFC 3056 and
RFC 5214 for embedded IPv4.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SPECIAL: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), kind)
    for text, kind in (
        # Not 198.18.0.0/15: where a network names its hosts as we do inside, every name points there.
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "private"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "platform's"),  # public by its number; Azure's host serves its machines there
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "this host"),
        ("::1/128", "loopback"),
        ("100::/64", "reserved"),
        ("2001::/32", "tunnelled"),  # Teredo holds two IPv4 addresses, one of them disguised
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
    )
)
_LAST_32_BITS = tuple(
    IPv6Network(text)
    for text in (
        "::/96",  # IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/96",  # NAT64 of a network's own
    )
)
_6TO4 = IPv6Network("2002::/16")
_ISATAP = (0x00005EFE, 0x02005EFE)
"""The first half of the interface's identifier; the second is an IPv4 address."""


class Reach:
    """The addresses that may be dialled."""

    def __init__(
        self, *, addresses: Iterable[tuple[Address, int]] = (), networks: Iterable[str] = ()
    ) -> None:
        """`addresses` and ports are the policy's literals; `networks`, in CIDR form, are open to names too.

        Raises: ValueError for a network that is not one.
        """
        self._addresses = frozenset(addresses)
        self._networks = tuple(ip_network(text) for text in networks)

    def refusal(self, text: str, port: int) -> str | None:
        """Say why an address must not be dialled, or None where it may be."""
        address: Address = ip_address(text.partition("%")[0])
        for each in (address, _embedded(address)):
            if each is None or (each, port) in self._addresses:
                continue
            if any(each in network for network in self._networks if network.version == each.version):
                continue
            for network, kind in _SPECIAL:
                if network.version == each.version and each in network:
                    return f"it points at `{address}`, a {kind} address that is not on the list itself"
        return None


def _embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address is translated or tunnelled to."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    number = int(address)
    is_isatap = number >> 32 & 0xFFFFFFFF in _ISATAP
    if number > 1 and (is_isatap or any(address in network for network in _LAST_32_BITS)):
        return IPv4Address(number & 0xFFFFFFFF)
    if address in _6TO4:
        return IPv4Address(number >> 80 & 0xFFFFFFFF)
    return None
