"""Where a picture may be fetched from: hosts, network addresses and the paths that deserve a token."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote

import httpx

from pool.schema import Forbidden

Resolve = Callable[[str, int], list[str]]
"""Takes a host name and a port to its network addresses, as text."""

SETTING: Final = "THRESHER_MEDIA_HOSTS"
MEDIA_PATH: Final = re.compile(
    r"/(data/(upload|local-files)/|storage-data/uploaded/|(tasks|projects)/\d+/(resolve|presign)/)"
)
"""Paths of Label Studio that hand out pictures; the token goes to these and to no other."""
NAME_LENGTH: Final = 120
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host by the system's resolver. Raises OSError for an unknown one."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Is this address out in the internet, and not private, loopback, link-local or otherwise reserved?"""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found in NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.teredo is not None:
            return False
    return found.is_global and not found.is_multicast


def origin(url: httpx.URL) -> tuple[str, str, int]:
    """Scheme, host and port, the port also where it goes without saying."""
    return url.scheme, url.host.lower().rstrip("."), port(url)


def port(url: httpx.URL) -> int:
    """The port a request to this address goes to."""
    return url.port or (443 if url.scheme == "https" else 80)


def checked(url: httpx.URL) -> httpx.URL:
    """The same address if a picture can be asked for there at all."""
    if url.scheme not in ("http", "https") or not url.host:
        raise Forbidden(f"{shown(url)} is no address for a picture: only http and https are fetched.")
    if url.userinfo:
        raise Forbidden(f"{shown(url)} carries a user name: pictures are fetched without one.")
    return url.copy_with(fragment=None)


def shown(url: httpx.URL | str) -> str:
    """An address for messages: without query and user, which may hold a signature or a password."""
    try:
        parts = httpx.URL(url)
        bare = parts.copy_with(query=None, fragment=None, userinfo=None)
    except (httpx.InvalidURL, ValueError):
        return "the address"
    text = str(bare)
    return text if len(text) <= 120 else text[:119] + "…"


class Hosts:
    """The configured hosts: ``name`` (any port), ``name:port`` or ``*.domain`` (any host below it)."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(entry.strip().lower().rstrip(".") for entry in allowed if entry.strip())
        wrong = sorted(entry for entry in self._allowed if "/" in entry or entry in ("*", "*."))
        if wrong:
            raise Forbidden(
                f"{SETTING} lists host names such as images.example.com, *.example.com or minio:9000, "
                f"not {wrong[0]!r}."
            )

    def __contains__(self, url: object) -> bool:
        if not isinstance(url, httpx.URL):
            return False
        _, host, number = origin(url)
        name = f"[{host}]" if ":" in host else host
        if {host, name, f"{name}:{number}"} & self._allowed:
            return True
        parents = host.split(".")
        return any("*." + ".".join(parents[i:]) in self._allowed for i in range(1, len(parents)))


def public_addresses(url: httpx.URL, lookup: Resolve) -> list[str]:
    """The addresses of a host that nobody vouched for. Raises Forbidden unless all of them are public."""
    try:
        found = lookup(url.host, port(url))
    except (OSError, UnicodeError) as error:
        raise Forbidden(f"The host of {shown(url)} is unknown here ({error}).") from error
    inside = [address for address in found if not is_public(address)]
    if not found:
        raise Forbidden(f"The host of {shown(url)} has no address.")
    if inside:
        raise Forbidden(
            f"The host of {shown(url)} has the internal address {', '.join(inside)}: pictures are not "
            f"fetched from inside your network unless {SETTING} names the host."
        )
    return found


def file_name(url: httpx.URL) -> str:
    """A file name from where Label Studio puts it: ``?d=``, ``?fileuri=``, ``?filepath=`` or the path."""
    packed = url.params.get("fileuri")
    if packed:
        try:
            return base_name(base64.urlsafe_b64decode(packed.encode()).decode())
        except (binascii.Error, UnicodeError, ValueError):
            return base_name(packed)
    return clean_name(url.params.get("d") or url.params.get("filepath") or url.path)


def base_name(uri: str) -> str:
    """The last part of a storage address such as ``s3://bucket/folder/a.jpg``."""
    return clean_name(unquote(uri.partition("?")[0]))


def clean_name(path: str) -> str:
    """The last part of a path, printable and of bounded length, its ending kept."""
    last = path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    plain = "".join(char if char.isprintable() else "_" for char in last)
    name = PurePosixPath("picture" if plain in ("", ".", "..") else plain)
    suffix = name.suffix[:12]
    return name.name if len(name.name) <= NAME_LENGTH else name.stem[: NAME_LENGTH - len(suffix)] + suffix
