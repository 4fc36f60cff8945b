"""Objects at https:// addresses, with redirects and private addresses checked.

obstore's client follows redirects by itself, so that nothing could check where they lead. This one
resolves each host name, checks all of its addresses, and connects to an address that was checked: a
name that resolves to another address a moment later (DNS rebinding) gains nothing. Behind a proxy
the proxy resolves the names; then only names that this machine resolves, and addresses written as
numbers, are checked.

No message contains a query, a user or a fragment.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import re
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from sta.transport.responses import ObjectResponse, StoreError, response_error
from sta.transport.retry import RetryPolicy

_CHUNK_BYTES = 1 << 18
_MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}


@dataclass(frozen=True)
class _Hop:
    """One request: where to connect, and what for."""

    parts: SplitResult
    address: str | None


def open_web(
    address: str,
    *,
    start: int = 0,
    end: int | None = None,
    version: str | None = None,
    policy: RetryPolicy,
    private_hosts: bool = False,
    own_machine: bool = False,
    trusted: bool = False,
) -> ObjectResponse:
    """Opens the object at an address, following redirects.

    Args:
        address: https:// address; http:// only of a private host that is allowed.
        start: first byte; a server without ranges sends the object from 0 on.
        end: byte after the last one; None for all.
        version: the ETag, or else the modification time, that the object must have; None for any.
        policy: timeouts.
        private_hosts: whether the server may have a private, loopback or link-local address; it may
            as well where STA_ALLOW_PRIVATE_HOSTS is 1.
        own_machine: whether the address itself may be of this machine; redirects may not.
        trusted: whether the address is the user's own setting, which is not checked.

    Raises:
        StoreError: the object cannot be read.
    """
    private_hosts = private_hosts or private_hosts_allowed()
    headers = {"User-Agent": "sta", "Accept-Encoding": "identity", "Accept": "*/*"}
    if start or end is not None:
        headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        if start and version:
            headers["If-Range"] = version  # of another version the whole is sent
    here, secure = address, False
    for hop in range(_MAX_REDIRECTS + 1):
        checked = (
            _Hop(urlsplit(here), None)
            if trusted
            else _checked(
                here,
                private_hosts,
                own_machine and urlsplit(here).netloc == urlsplit(address).netloc,
                leads="the server redirects to" if hop else "it is",
                secure=secure,
            )
        )
        secure = checked.parts.scheme == "https"
        connection, response = _request(checked, headers, policy)
        if response.status not in _REDIRECTS or not response.getheader("Location"):
            return _response(connection, response, version)
        here = urljoin(here, response.getheader("Location", ""))
        connection.close()
    raise StoreError(f"the server redirects more than {_MAX_REDIRECTS} times")


def _checked(
    address: str, private_hosts: bool, own_machine: bool, *, leads: str, secure: bool
) -> _Hop:
    """The parts of an address that may be asked, and the checked network address to connect to."""
    try:
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise StoreError("not a valid https:// address", "not_found") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise StoreError(f"{leads} an address that is not https://", "not_found")
    if parts.username or parts.password:
        raise StoreError("the address contains a user or password", "forbidden")
    not_encrypted = StoreError(f"{leads} an address that is not encrypted", "forbidden")
    here = own_machine and names_this_machine(parts.hostname)
    if parts.scheme == "http" and (secure or not (private_hosts or here)):
        raise not_encrypted
    proxied = _proxy(parts) is not None
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        if not proxied:
            # A name that does not exist is final; a resolver that does not answer is not.
            final = isinstance(error, UnicodeError) or error.errno == socket.EAI_NONAME
            raise StoreError(
                "the server's name is not known",
                "not_found" if final else "transient",
                "no such host",
            ) from None
        found = []  # the proxy resolves it
    addresses = [str(each[4][0]) for each in found]
    private = [each for each in addresses if not is_public(each)]
    own = own_machine and all(_is_loopback(each) for each in addresses) and addresses
    if parts.scheme == "http" and not own and not (private_hosts and private):
        raise not_encrypted
    if private and not private_hosts and not own:
        raise StoreError(
            f"{leads} a private, loopback or link-local address; --allow-private-hosts permits it",
            "forbidden",
        )
    return _Hop(parts, None if proxied or not addresses else addresses[0])


def allow_private_hosts() -> None:
    """Allows private hosts in this process and those that it starts."""
    os.environ["STA_ALLOW_PRIVATE_HOSTS"] = "1"


def private_hosts_allowed() -> bool:
    """Whether STA_ALLOW_PRIVATE_HOSTS is 1."""
    return os.environ.get("STA_ALLOW_PRIVATE_HOSTS") == "1"


def is_public(address: str) -> bool:
    """Whether a network address is one of the public internet."""
    found = ipaddress.ip_address(address.partition("%")[0])
    for inner in (getattr(found, "ipv4_mapped", None), getattr(found, "sixtofour", None)):
        if inner is not None:
            found = inner
    return found.is_global and not found.is_multicast and found not in _TRANSLATED


# Addresses by which an IPv6 network reaches IPv4 hosts (RFC 6052), private ones too.
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


def names_this_machine(host: str) -> bool:
    """Whether a host is localhost or a loopback address."""
    try:
        return host == "localhost" or _is_loopback(host)
    except ValueError:
        return False


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _proxy(parts: SplitResult) -> SplitResult | None:
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


@lru_cache(maxsize=1)
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Connection(http.client.HTTPConnection):
    """A connection to a network address that was checked."""

    def __init__(self, hop: _Hop, connect_s: float, read_s: float) -> None:
        parts, proxy = hop.parts, _proxy(hop.parts)
        self._secure = parts.scheme == "https"
        self._name, self._read_s = parts.hostname or "", read_s
        port = parts.port or (443 if self._secure else 80)
        target = proxy if hop.address is None else None
        if target is None:
            super().__init__(self._name, port, timeout=connect_s)
        else:
            super().__init__(target.hostname or "", target.port or 80, timeout=connect_s)
            if self._secure:
                self.set_tunnel(self._name, port)
        self._at = (hop.address, port) if hop.address is not None else None

    def connect(self) -> None:
        if self._at is None:
            super().connect()
        else:
            self.sock = socket.create_connection(self._at, self.timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._secure:
            self.sock = _context().wrap_socket(self.sock, server_hostname=self._name)
        self.sock.settimeout(self._read_s)


def _request(
    hop: _Hop, headers: dict[str, str], policy: RetryPolicy
) -> tuple[_Connection, http.client.HTTPResponse]:
    connection = _Connection(hop, *policy.timeouts())
    target = quote(hop.parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if hop.parts.query:
        target += "?" + quote(hop.parts.query, safe="/%:@!$&'()*+,;=~-._?")
    if hop.parts.scheme == "http" and hop.address is None and _proxy(hop.parts) is not None:
        target = f"http://{hop.parts.netloc}{target}"  # as a proxy takes it
    try:
        connection.request("GET", target, headers=headers)
        return connection, connection.getresponse()
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise StoreError(f"the server's certificate is not valid: {error.verify_message}") from None
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise _network_error(error) from None


def _network_error(error: BaseException) -> StoreError:
    if isinstance(error, TimeoutError):
        said = "no answer in time"
    elif isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        said = error.strerror
    else:
        said = "connection broken"
    return StoreError(f"the server did not answer completely ({said})", "transient", said)


def _response(
    connection: _Connection, response: http.client.HTTPResponse, version: str | None
) -> ObjectResponse:
    status = response.status
    try:
        if status not in (200, 206):
            code = re.search(rb"<Code>([A-Za-z0-9]{2,48})</Code>", response.read(4096))
            raise response_error(status, code[1].decode() if code else "", server="server")
        start, size = _extent(response)
        found = _version(response)
        if version and found and found != version:
            raise StoreError("the object was replaced", "changed", status=status)
    except StoreError:
        connection.close()
        raise
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise _network_error(error) from None

    def close() -> None:
        response.close()
        connection.close()

    return ObjectResponse(start, size, found, _chunks(response, close), status == 206, close)


def _version(response: http.client.HTTPResponse) -> str | None:
    # A weak ETag does not guarantee the same bytes, so a download cannot be resumed with it.
    etag = response.getheader("ETag", "")
    strong = etag if not etag.startswith("W/") else ""
    return strong or response.getheader("Last-Modified")


def _extent(response: http.client.HTTPResponse) -> tuple[int, int]:
    """(first byte, size of the whole object) of a response."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.getheader("Content-Range", ""))
        if found is None:
            raise StoreError("the server answers a range without saying which")
        return int(found[1]), int(found[2])
    length = response.getheader("Content-Length", "")
    if not length.isdecimal():
        raise StoreError("the server does not say how long the object is")
    return 0, int(length)


def _chunks(response: http.client.HTTPResponse, close: Any) -> Iterator[bytes]:
    try:
        # read1 returns what has arrived; read would wait for the whole amount.
        while chunk := response.read1(_CHUNK_BYTES):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _network_error(error) from None
    finally:
        close()
