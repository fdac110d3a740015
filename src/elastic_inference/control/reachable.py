"""What a listener can be reached at: the names and addresses that its certificate is for."""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path

_IPV4 = Path("/proc/net/fib_trie")
_IPV6 = Path("/proc/net/if_inet6")
# Hosts of many containers have an address for each of their networks.
_MOST = 64
_LOOPBACK = ("127.0.0.1", "::1")
# An address that documents use, and no machine has.
_OTHER = (socket.AF_INET, "192.0.2.1")


def names_of(host: str) -> list[str]:
    """The addresses and DNS names that lead to a listener on `host`, an IP address.

    An unspecified address stands for all that this machine has now, but for link-local ones.
    """
    address = ipaddress.ip_address(host)
    addresses = [str(address)]
    if address.is_unspecified:
        addresses = _ipv4()
        if address.version == 6:
            addresses += _ipv6()
    names = addresses[:_MOST]
    if any(each in _LOOPBACK for each in names):
        names.append("localhost")
    if not all(ipaddress.ip_address(each).is_loopback for each in addresses):
        names.append(socket.gethostname())
    return list(dict.fromkeys(names))


def elsewhere(host: str, reached: str) -> str:
    """The address at which other machines most likely reach a listener on `host`.

    Args:
        reached: the address at which somebody reached it, which it is unless that is loopback.
    """
    if not ipaddress.ip_address(reached).is_loopback:
        return reached
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    addresses = [_outgoing(address.version), *names_of(host)]
    return next((each for each in addresses if _is_routed(each)), reached)


def _outgoing(version: int) -> str:
    """The address from which this machine speaks to others; nothing is sent to find out."""
    family, other = (socket.AF_INET6, "2001:db8::1") if version == 6 else _OTHER
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((other, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def _is_routed(name: str) -> bool:
    try:
        return not ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def without_mapping(host: str) -> str:
    """An IPv4 address as such, where a socket of both families gives it as an IPv6 one."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return host if mapped is None else str(mapped)


def _ipv4() -> list[str]:
    found = re.findall(r"\|-- ([\d.]+)\n\s+/32 host LOCAL", _read(_IPV4))
    return ["127.0.0.1", *found]


def _ipv6() -> list[str]:
    words = [line.split(maxsplit=1)[0] for line in _read(_IPV6).splitlines() if line.strip()]
    found = [ipaddress.IPv6Address(int(word, 16)) for word in words]
    return ["::1", *(str(each) for each in found if not each.is_link_local)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        # Without that file the loopback addresses are all that is known.
        return ""
