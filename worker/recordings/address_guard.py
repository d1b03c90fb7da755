"""Decides which hosts and network addresses may be connected to, and connects to exactly the address it decided on."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any

from common.errors import RecordingNotReady, RecordingRefused
from common.host_list import PROVIDER, HostList, normalised

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[..., Iterable[tuple[Any, ...]]]
Connect = Callable[[tuple[str, int], float], socket.socket]

_PUBLIC_PORTS = frozenset({80, 443})

# A name may list any number of addresses that never answer; each one tried costs a connect deadline.
_ADDRESSES_TRIED = 4

_GLOBAL_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")

# Python calls these global, in at least one of its versions, and yet they lead elsewhere than to one public
# host: protocol assignments, relays, and IPv6 addresses that carry an IPv4 address of anybody's choice.
_NEVER: tuple[Network, ...] = (
    ipaddress.IPv4Network("100.64.0.0/10"),
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("192.88.99.0/24"),
    ipaddress.IPv6Network("2001::/23"),
    ipaddress.IPv6Network("2001:db8::/32"),
    ipaddress.IPv6Network("2002::/16"),
    ipaddress.IPv6Network("3fff::/20"),
)


# No host's name is longer; whoever sends a longer one does not fill our rows with it.
_LONGEST_NAME = 253


def shown(host: str) -> str:
    """Return a host as messages and keys name it."""
    return normalised(host)[:_LONGEST_NAME]


def is_public(address: Address) -> bool:
    """Tell whether `address` is one host on the public Internet."""
    address = _unwrapped(address)
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST_V6:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _NEVER)


def _unwrapped(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_private_address(host: str) -> bool:
    """Tell whether a host is written as an address that no list of hosts could allow."""
    try:
        return not is_public(ipaddress.ip_address(host))
    except ValueError:
        return False


class AddressGuard:
    """The only way to a socket for an address that came from outside.

    Of the hosts that are listed, public addresses may be reached on ports 80 and 443, those in `allow_networks` on any port;
    without `hosts` the provider's are. `resolve` and `connect` have the signatures of `socket.getaddrinfo` and
    `socket.create_connection`.
    """

    def __init__(
        self,
        allow_networks: Iterable[Network] = (),
        resolve: Resolve = socket.getaddrinfo,
        connect: Connect = socket.create_connection,
        hosts: HostList | None = None,
    ) -> None:
        self._allow_networks = tuple(allow_networks)
        self._hosts = HostList.parse(PROVIDER) if hosts is None else hosts
        self._resolve = resolve
        self._connect = connect

    def check_host(self, host: str, path: str) -> None:
        """Raise RecordingRefused unless what is at this host and path may be asked for at all.

        An address within `allow_networks` was named by whoever named the network; a name that leads there was not.
        """
        if not (self._is_allowed_address(host) or self._hosts.allows(host, path)):
            private = "is no public address, and is not in CDR_RECORDING_ALLOW_NETWORKS"
            why = private if _is_private_address(host) else "is not in CDR_RECORDING_HOSTS"
            raise RecordingRefused(f"{shown(host)} {why}")

    def _is_allowed_address(self, host: str) -> bool:
        try:
            return self._is_allowed(_unwrapped(ipaddress.ip_address(host)))
        except ValueError:
            return False

    def _is_allowed(self, address: Address) -> bool:
        return any(address in network for network in self._allow_networks)

    def may_connect(self, address: Address, port: int) -> bool:
        """Decide on one address and port."""
        address = _unwrapped(address)
        return self._is_allowed(address) or (port in _PUBLIC_PORTS and is_public(address))

    def connect(self, host: str, port: int, timeout_seconds: float) -> socket.socket:
        """Connect to an address of `host`, waiting at most `timeout_seconds` for each of the first few.

        Raises RecordingRefused unless every address of the name is permitted: a name that mixes public and private
        addresses is an attack or a mistake. Raises RecordingNotReady when the name is unknown or nothing answers.
        """
        failure: OSError | None = None
        for address in self._checked_addresses(host, port)[:_ADDRESSES_TRIED]:
            try:
                # The name is not looked up a second time, when it could lead elsewhere.
                return self._connect((str(address), port), timeout_seconds)
            except OSError as error:
                failure = error
        raise RecordingNotReady(f"{shown(host)} does not answer") from failure

    def _checked_addresses(self, host: str, port: int) -> list[Address]:
        addresses = self._addresses(host, port)
        for address in addresses:
            if not self.may_connect(address, port):
                raise RecordingRefused(
                    f"{shown(host)} is at {address} port {port}, which is neither public nor allowed"
                )
        return addresses

    def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            found = self._resolve(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise RecordingRefused("the host is no valid name") from error
        except OSError as error:
            raise RecordingNotReady(f"{shown(host)} has no address") from error
        # A resolver names an address once for each protocol; the first place counts.
        return list(dict.fromkeys(_unwrapped(ipaddress.ip_address(entry[4][0])) for entry in found))
