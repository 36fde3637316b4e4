"""Pictures of tasks, fetched under the security rules.

A task's data is written by whoever may import tasks, and so is every address in it. Pictures come from
Label Studio itself, from storage that it vouches for by a redirect, from hosts that the operator
configured, and from nowhere else. Redirects are followed by hand and judged one by one; the token goes
to Label Studio alone, and there only to paths that hand out pictures.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote_to_bytes

import httpx

from backend.studio import addresses
from backend.studio.addresses import SETTING, shown
from backend.studio.transport import check_url
from pool.schema import BadImage, Forbidden, StudioError

STORAGE: Final = frozenset({"s3", "gs", "azure-blob", "azure_blob", "azure-spi", "azure_spi"})
"""Schemes that Label Studio resolves through its own storages."""
ENDINGS: Final = {
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/bmp": ".bmp",
    "image/tiff": ".tif",
    "image/gif": ".gif",
}
HOPS: Final = 5
MAX_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Hop:
    """One request to come: where, with the token or not, and to which checked network address."""

    url: httpx.URL
    token: bool = False
    address: str | None = None


class Fetcher:
    """Fetches the pictures of tasks; one object serves all threads.

    ``studio_url`` is Label Studio's address, ``headers`` gives fresh headers for it (``Studio.headers``).
    ``allowed_hosts`` are further hosts (``name``, ``name:port``, ``*.domain``), fetched without token and
    without a look at their network address. ``public_urls`` are other addresses of the same Label Studio,
    as people's browsers know it: pictures there are fetched from ``studio_url``. ``local_roots`` are
    directories, each Label Studio's own document root for local files, from which pictures are read
    without asking it. ``max_bytes`` bounds a picture, ``timeout`` (seconds) a whole fetch.
    """

    def __init__(
        self,
        studio_url: str,
        headers: Callable[[], Mapping[str, str]],
        *,
        allowed_hosts: Iterable[str] = (),
        public_urls: Iterable[str] = (),
        local_roots: Sequence[Path] = (),
        max_bytes: int = MAX_BYTES,
        timeout: float = 30.0,
        lookup: addresses.Resolve = addresses.resolve,
    ) -> None:
        self._base = httpx.URL(check_url(studio_url))
        self._own = {addresses.origin(httpx.URL(check_url(u))) for u in (studio_url, *public_urls)}
        self._headers, self._lookup = headers, lookup
        self._hosts = addresses.Hosts(allowed_hosts)
        self._roots = [root.resolve() for root in local_roots]
        self._max_bytes, self._timeout = max_bytes, timeout
        # A proxy from the environment would make its own connections, so checked addresses go without.
        self._plain, self._pinned = _client(timeout, True), _client(timeout, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._plain.close()
        self._pinned.close()

    def fetch(self, task_id: int, uri: str) -> tuple[bytes, str]:
        """The bytes of a task's picture and a file name for them, with its ending.

        Raises Forbidden for an address outside the rules, BadImage for a picture that is missing, empty or
        too large, StudioError where Label Studio refuses or cannot be reached. Nothing is decoded here.
        """
        uri = uri.strip()
        scheme = uri.partition(":")[0].lower() if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", uri) else ""
        if scheme == "data":
            return self._inline(uri)
        if scheme in STORAGE:
            packed = base64.urlsafe_b64encode(uri.encode()).decode()
            url = self._under_base(f"/tasks/{task_id}/resolve/", {"fileuri": packed})
            return self._download(self._judge(url, None), addresses.base_name(uri))
        if scheme in ("http", "https") or uri.startswith("/"):
            url = self._absolute(uri)
            return self._local(url) or self._download(self._judge(url, None), addresses.file_name(url))
        raise Forbidden(
            f"{uri[:80]!r} is no address from which pictures are fetched: allowed are Label Studio's own "
            f"(/data/…), its storages (s3, gs, azure-blob), http(s) of hosts in {SETTING}, and data: URLs."
        )

    # ---- what an address means

    def _absolute(self, uri: str) -> httpx.URL:
        try:
            if uri.startswith("//") or "\\" in uri:
                raise ValueError
            url = httpx.URL(uri)
        except (httpx.InvalidURL, ValueError) as error:
            raise Forbidden(f"{uri[:80]!r} is no address that can be read in one way only.") from error
        if not url.is_relative_url:
            return self._as_own(addresses.checked(url))
        if ".." in url.path.split("/") or not self._is_media(url.path):
            raise Forbidden(f"{shown(url)} is no path of Label Studio that hands out pictures.")
        return self._under_base(url.path, dict(url.params))

    def _under_base(self, path: str, params: Mapping[str, str]) -> httpx.URL:
        prefix = self._base.path.rstrip("/")
        full = path if prefix and path.startswith(prefix + "/") else prefix + path
        return self._base.copy_with(path=full, params=dict(params))

    def _as_own(self, url: httpx.URL) -> httpx.URL:
        """The same address below ``studio_url`` if it is one of Label Studio's other names."""
        if addresses.origin(url) in self._own:
            return url.copy_with(scheme=self._base.scheme, netloc=self._base.netloc)
        return url

    def _is_media(self, path: str) -> bool:
        inner = path.removeprefix(self._base.path.rstrip("/"))
        return any(addresses.MEDIA_PATH.match(p) for p in (path, inner))

    def _judge(self, url: httpx.URL, before: _Hop | None) -> _Hop:
        """May this be asked for, coming from ``before`` (None: from a task)? Raises Forbidden."""
        url = self._as_own(addresses.checked(url))
        if addresses.origin(url) == addresses.origin(self._base):
            return _Hop(url, token=self._is_media(url.path) and ".." not in url.path.split("/"))
        if url in self._hosts:
            return _Hop(url)
        if before is not None and before.token:
            # Label Studio itself points to its storage: fine, if that is not inside the network.
            return _Hop(url, address=addresses.public_addresses(url, self._lookup)[0])
        raise Forbidden(
            f"{shown(url)} is not on Label Studio's host: add {url.host!r} to {SETTING} to fetch pictures "
            "from there."
        )

    # ---- getting it

    def _inline(self, uri: str) -> tuple[bytes, str]:
        head, comma, payload = uri.partition(",")
        if not comma:
            raise BadImage("A data: URL must have a comma before its data.")
        media = head[5:].split(";")[0].strip().lower()
        if head.lower().endswith(";base64"):
            if len(payload) > self._max_bytes // 3 * 4 + 1024:
                raise self._too_large("A data: URL")
            try:
                data = base64.b64decode(unquote_to_bytes(payload), validate=True)
            except (binascii.Error, ValueError) as error:
                raise BadImage(f"A data: URL must be sound base64 ({error}).") from error
        else:
            if len(payload) > self._max_bytes * 3:
                raise self._too_large("A data: URL")
            data = unquote_to_bytes(payload)
        return self._sound(data, "A data: URL"), "inline" + _ending(media)

    def _local(self, url: httpx.URL) -> tuple[bytes, str] | None:
        """A file of the shared document root, None where there is none to read."""
        inner = url.path.removeprefix(self._base.path.rstrip("/"))
        if addresses.origin(url) != addresses.origin(self._base) or inner != "/data/local-files/":
            return None
        wanted = url.params.get("d", "")
        parts = PurePosixPath(wanted).parts
        if not wanted or "\0" in wanted or "\\" in wanted or wanted.startswith("/") or ".." in parts:
            raise Forbidden(f"d={wanted[:80]!r} leaves the folder of local files.")
        for root in self._roots:
            path = (root / wanted).resolve()
            if not path.is_relative_to(root):
                raise Forbidden(f"d={wanted[:80]!r} leaves the folder of local files by a link.")
            if path.is_file():
                with path.open("rb") as file:
                    data = file.read(self._max_bytes + 1)
                return self._sound(data, wanted), addresses.clean_name(path.name)
        return None

    def _download(self, hop: _Hop, name: str) -> tuple[bytes, str]:
        until = time.monotonic() + self._timeout
        for _ in range(HOPS + 1):
            try:
                response = self._send(hop, until)
                try:
                    if response.has_redirect_location:
                        hop = self._judge(_target(hop, response), hop)
                        continue
                    self._accept(hop, response)
                    data = self._sound(self._body(hop, response, until), shown(hop.url))
                finally:
                    response.close()
            except httpx.RequestError as error:
                raise _unreached(hop, error) from error
            return data, name if PurePosixPath(name).suffix else name + _ending(_media_type(response))
        raise Forbidden(f"{shown(hop.url)}: pictures are not fetched over more than {HOPS} redirects.")

    def _send(self, hop: _Hop, until: float) -> httpx.Response:
        headers = {"Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
        if hop.token:
            headers |= self._headers()
        timeout = max(until - time.monotonic(), 0.1)
        if hop.address is None:
            request = self._plain.build_request("GET", hop.url, headers=headers, timeout=timeout)
            return self._plain.send(request, stream=True)
        # Connect to the very address that was checked: a second look-up might answer otherwise.
        headers["Host"] = hop.url.netloc.decode("ascii")
        request = self._pinned.build_request(
            "GET",
            hop.url.copy_with(host=hop.address),
            headers=headers,
            timeout=timeout,
            extensions={"sni_hostname": hop.url.host},
        )
        return self._pinned.send(request, stream=True)

    def _accept(self, hop: _Hop, response: httpx.Response) -> None:
        status, where = response.status_code, shown(hop.url)
        if hop.token and status in (401, 403):
            raise StudioError(
                f"{where}: Label Studio answered {status}: check its token, and that the token's user may "
                "see the project (and its storage, for local files)."
            )
        if hop.token and status >= 500:
            raise StudioError(
                f"{where}: Label Studio answered {status}; it also does so for an upload that is gone."
            )
        if status != 200:
            raise BadImage(f"{where} answered {status} instead of a picture.")
        if _media_type(response) in ("text/html", "application/json"):
            raise BadImage(f"{where} answered with a page instead of a picture: is a login needed there?")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise BadImage(f"{where} answered with a compressed body, which is not unpacked.")
        length = response.headers.get("content-length", "")
        if length.isascii() and length.isdigit() and int(length) > self._max_bytes:
            raise self._too_large(where)

    def _body(self, hop: _Hop, response: httpx.Response, until: float) -> bytes:
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large(shown(hop.url))
            if time.monotonic() > until:
                raise BadImage(f"{shown(hop.url)} took longer than {self._timeout:g} s.")
            chunks.append(chunk)
        return b"".join(chunks)

    def _sound(self, data: bytes, where: str) -> bytes:
        if not data:
            raise BadImage(f"{where} is empty.")
        if len(data) > self._max_bytes:
            raise self._too_large(where)
        return data

    def _too_large(self, where: str) -> BadImage:
        return BadImage(f"{where} is larger than the limit of {self._max_bytes} bytes.")


def _client(timeout: float, environment: bool) -> httpx.Client:
    # No cookies: they ignore ports, so one server's would go to another on the same host.
    jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx.Client(timeout=timeout, trust_env=environment, cookies=jar, follow_redirects=False)


def _target(hop: _Hop, response: httpx.Response) -> httpx.URL:
    location = response.headers["location"]
    try:
        if "\\" in location:
            raise ValueError
        return hop.url.join(location)
    except (httpx.InvalidURL, ValueError) as error:
        raise Forbidden(f"{shown(hop.url)} redirects to no readable address.") from error


def _unreached(hop: _Hop, error: httpx.RequestError) -> StudioError | BadImage:
    reason = str(error) or type(error).__name__
    if hop.token:
        return StudioError(
            f"{shown(hop.url)}: no picture from Label Studio ({reason}). Check that it runs."
        )
    return BadImage(f"{shown(hop.url)} could not be fetched ({reason}).")


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _ending(media_type: str) -> str:
    """The usual file ending of a picture's media type, empty for others."""
    return ENDINGS.get(media_type, "")
