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
