from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backend.studio.addresses import Hosts, clean_name, file_name, is_public, shown
from backend.studio.media import HOPS, Fetcher
from pool.schema import BadImage, Forbidden, StudioError
from tests.backend.studio.site import Asked, Reply, Site

PICTURE = b"\xff\xd8\xff picture"
TOKEN = "Token secret-token"


def picture(asked: Asked) -> Reply:
    return Reply(PICTURE)


def with_token(asked: Asked) -> Reply:
    return Reply(PICTURE) if asked.token == TOKEN else Reply({"detail": "no"}, 401)


def headers() -> dict[str, str]:
    return {"Authorization": TOKEN}


@pytest.fixture(scope="module")
def sites() -> Iterator[tuple[Site, Site, Fetcher]]:
    with (
        Site(with_token) as studio,
        Site(picture) as other,
        Fetcher(studio.url, headers, max_bytes=1000, timeout=5) as fetcher,
    ):
        yield studio, other, fetcher


@pytest.fixture
def studio(sites: tuple[Site, Site, Fetcher]) -> Site:
    """Label Studio's side: pictures for those with the token only."""
    sites[0].answer = with_token
    sites[0].asked.clear()
    return sites[0]


@pytest.fixture
def other(sites: tuple[Site, Site, Fetcher]) -> Site:
    """Another server on the same machine."""
    sites[1].answer = picture
    sites[1].asked.clear()
    return sites[1]


@pytest.fixture
def fetcher(sites: tuple[Site, Site, Fetcher]) -> Fetcher:
    return sites[2]


def packed(uri: str) -> str:
    return base64.urlsafe_b64encode(uri.encode()).decode()


# ---- Label Studio's own pictures


@pytest.mark.parametrize(
    ("uri", "path", "query", "name"),
    [
        ("/data/upload/3/ab-x.jpg", "/data/upload/3/ab-x.jpg", {}, "ab-x.jpg"),
        ("/data/upload/3/%E6%BB%A1_a.jpg", "/data/upload/3/%E6%BB%A1_a.jpg", {}, "满_a.jpg"),
        ("/data/local-files/?d=bins/a b.png", "/data/local-files/", {"d": "bins/a b.png"}, "a b.png"),
        ("/data/local-files/?d=bins%2F%E6%BB%A1.png", "/data/local-files/", {"d": "bins/满.png"}, "满.png"),
        (
            "/storage-data/uploaded/?filepath=upload/3/y.webp",
            "/storage-data/uploaded/",
            {"filepath": "upload/3/y.webp"},
            "y.webp",
        ),
        (
            f"/tasks/7/resolve/?fileuri={packed('s3://b/k/z.png')}",
            "/tasks/7/resolve/",
            {"fileuri": packed("s3://b/k/z.png")},
            "z.png",
        ),
    ],
)
def test_relative_addresses(
    studio: Site, fetcher: Fetcher, uri: str, path: str, query: dict[str, str], name: str
) -> None:
    assert fetcher.fetch(7, uri) == (PICTURE, name)
    (asked,) = studio.asked
    assert (asked.path, asked.query, asked.token) == (path, query, TOKEN)
    if not uri.startswith("/storage"):
        assert fetcher.fetch(7, studio.url + uri) == (PICTURE, name)
        assert studio.asked[1].token == TOKEN


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://bucket/folder/满 溢.jpg", "满 溢.jpg"),
        ("gs://bucket/b.png?versionId=3", "b.png"),
        ("azure-blob://container/c.bmp", "c.bmp"),
        ("S3://bucket/d.jpg", "d.jpg"),
    ],
)
def test_storage_addresses_go_through_label_studio(
    studio: Site, fetcher: Fetcher, uri: str, name: str
) -> None:
    assert fetcher.fetch(42, uri) == (PICTURE, name)
    (asked,) = studio.asked
    assert asked.path == "/tasks/42/resolve/"
    assert base64.urlsafe_b64decode(asked.query["fileuri"]).decode() == uri
    assert asked.token == TOKEN


def test_a_path_before_label_studio_is_kept(studio: Site) -> None:
    with Fetcher(studio.url + "/ls", headers) as fetcher:
        for uri in ("/data/upload/3/x.jpg", "/ls/data/upload/3/x.jpg", "s3://b/x.jpg"):
            assert fetcher.fetch(1, uri) == (PICTURE, "x.jpg")
    assert [a.path for a in studio.asked] == ["/ls/data/upload/3/x.jpg"] * 2 + ["/ls/tasks/1/resolve/"]
    assert {asked.token for asked in studio.asked} == {TOKEN}


def test_the_name_that_browsers_know_is_the_same_label_studio(studio: Site) -> None:
    public = "https://labels.example.com"
    uri = public + "/data/local-files/?d=bins/x.jpg"
    with Fetcher(studio.url, headers) as fetcher, pytest.raises(Forbidden, match=r"labels\.example\.com"):
        fetcher.fetch(1, uri)
    with Fetcher(studio.url, headers, public_urls=[public]) as fetcher:
        assert fetcher.fetch(1, uri) == (PICTURE, "x.jpg")
    assert studio.asked[-1].query == {"d": "bins/x.jpg"}


def test_fresh_headers_are_asked_for_at_each_fetch(studio: Site) -> None:
    tokens = iter(["Bearer 1", "Bearer 2"])
    studio.answer = picture
    with Fetcher(studio.url, lambda: {"Authorization": next(tokens)}) as fetcher:
        fetcher.fetch(1, "/data/upload/3/x.jpg")
        fetcher.fetch(1, "/data/upload/3/x.jpg")
    assert [asked.token for asked in studio.asked] == ["Bearer 1", "Bearer 2"]


def test_a_name_without_ending_gets_one_from_the_answer(studio: Site, fetcher: Fetcher) -> None:
    studio.answer = lambda asked: Reply(PICTURE, headers={"content-type": "image/webp; x=y"})
    assert fetcher.fetch(1, "/data/upload/3/picture")[1] == "picture.webp"
    studio.answer = picture
    assert fetcher.fetch(1, "/data/upload/3/picture")[1] == "picture"


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (Reply({"detail": "no"}, 401), StudioError, "check its token"),
        (Reply({"detail": "no"}, 403), StudioError, "check its token"),
        (Reply({}, 500), StudioError, "upload that is gone"),
        (Reply({}, 404), BadImage, "answered 404"),
        (Reply(b"", 206), BadImage, "answered 206"),
        (Reply(b""), BadImage, "empty"),
        (Reply(b"<html>", headers={"content-type": "text/html"}), BadImage, "page instead of a picture"),
        (Reply(PICTURE, headers={"content-encoding": "gzip"}), BadImage, "compressed"),
        (Reply(hang_up=True), StudioError, "no picture from Label Studio"),
        (Reply(PICTURE, headers={"content-length": "500"}), StudioError, "no picture from Label Studio"),
    ],
)
def test_what_is_no_picture(
    studio: Site, fetcher: Fetcher, reply: Reply, kind: type[Exception], says: str
) -> None:
    studio.answer = lambda asked: reply
    with pytest.raises(kind, match=says) as caught:
        fetcher.fetch(1, "/data/upload/3/x.jpg?sig=private")
    assert "private" not in str(caught.value)
    assert "secret-token" not in str(caught.value)


# ---- size and time


def test_a_picture_at_the_limit_and_one_byte_over(studio: Site, fetcher: Fetcher) -> None:
    studio.answer = lambda asked: Reply(b"x" * 1000)
    assert len(fetcher.fetch(1, "/data/upload/3/x.jpg")[0]) == 1000
    studio.answer = lambda asked: Reply(b"x" * 1001)
    with pytest.raises(BadImage, match="larger than the limit of 1000 bytes"):
        fetcher.fetch(1, "/data/upload/3/x.jpg")


def test_a_body_without_a_length_is_cut_off_while_it_streams(studio: Site, fetcher: Fetcher) -> None:
    studio.cut.clear()
    studio.answer = lambda asked: Reply(b"x" * 50_000_000, headers={"content-length": ""})
    with pytest.raises(BadImage, match="larger"):
        fetcher.fetch(1, "/data/upload/3/x.jpg")
    assert studio.cut.wait(5)


def test_the_whole_fetch_has_one_time_limit(studio: Site) -> None:
    release = threading.Event()

    def slow(asked: Asked) -> Reply:
        release.wait(5)
        return Reply(PICTURE)

    studio.answer = slow
    began = time.monotonic()
    try:
        with Fetcher(studio.url, headers, timeout=0.2) as fetcher, pytest.raises(StudioError):
            fetcher.fetch(1, "/data/upload/3/x.jpg")
    finally:
        release.set()
    assert time.monotonic() - began < 3


# ---- other hosts


def test_other_hosts_are_forbidden_and_nothing_is_sent(other: Site, fetcher: Fetcher) -> None:
    with pytest.raises(Forbidden, match=r"THRESHER_MEDIA_HOSTS") as caught:
        fetcher.fetch(1, other.url + "/x.jpg?sig=private")
    assert "127.0.0.1" in str(caught.value)
    assert "private" not in str(caught.value)
    assert other.asked == []


def test_another_port_of_label_studios_host_is_another_host(
    studio: Site, other: Site, fetcher: Fetcher
) -> None:
    assert httpx.URL(studio.url).host == httpx.URL(other.url).host
    with pytest.raises(Forbidden):
        fetcher.fetch(1, other.url + "/data/upload/3/x.jpg")
    assert other.asked == []


def test_configured_hosts_are_fetched_without_the_token(studio: Site, other: Site) -> None:
    with Fetcher(studio.url, headers, allowed_hosts=[f"127.0.0.1:{other.port}"]) as fetcher:
        assert fetcher.fetch(1, other.url + "/data/upload/3/x.jpg") == (PICTURE, "x.jpg")
    assert [asked.token for asked in other.asked] == [None]


def test_the_token_goes_to_paths_with_pictures_only(studio: Site, fetcher: Fetcher) -> None:
    studio.answer = picture
    fetcher.fetch(1, studio.url + "/static/sample.jpg")
    fetcher.fetch(1, studio.url + "/api/dm/x.jpg")
    assert [asked.token for asked in studio.asked] == [None, None]


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "x.jpg",
        "bins/x.jpg",
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "ftp://127.0.0.1/x.jpg",
        "gopher://127.0.0.1/x",
        "javascript:alert(1)",
        "//127.0.0.1/x.jpg",
        "/etc/passwd",
        "/api/users/",
        "/logout",
        "/data/upload/../../api/users/",
        "/data/upload/%2e%2e/%2e%2e/api/users/",
        "http://",
        "http://user:pass@127.0.0.1/x.jpg",
        "http://127.0.0.1\\@example.com/x.jpg",
        "http://[::1/x.jpg",
        "https://127.0.0.1:99999/x.jpg",
        "/data/local-files/?d=../secret.png",
        "/data/local-files/?d=bins/../../secret.png",
        "/data/local-files/?d=/etc/passwd",
        "/data/local-files/?d=%2e%2e/secret.png",
        "/data/local-files/?d=a%00.png",
        "/data/local-files/?d=..\\secret.png",
        "/data/local-files/",
    ],
)
def test_what_is_no_address_of_a_picture(studio: Site, fetcher: Fetcher, uri: str) -> None:
    with pytest.raises(Forbidden):
        fetcher.fetch(1, uri)
    assert studio.asked == []


def test_a_climbing_path_on_label_studios_host_gets_no_token(studio: Site, fetcher: Fetcher) -> None:
    studio.answer = picture
    for path in ("/data/upload/../../api/users/", "/data/upload/%2e%2e/%2e%2e/api/users/"):
        fetcher.fetch(1, studio.url + path)
    assert [asked.token for asked in studio.asked] == [None, None]


@given(st.text(max_size=30) | st.text("/.\\:@%?#[]datupload0-9hps", max_size=30))
def test_no_text_makes_the_fetcher_stumble(sites: tuple[Site, Site, Fetcher], uri: str) -> None:
    with pytest.raises((Forbidden, BadImage)):
        sites[2].fetch(1, uri)


# ---- redirects


def redirect(to: str, status: int = 303) -> Callable[[Asked], Reply]:
    return lambda asked: Reply(None, status, {"location": to})


def public(host: str, port: int) -> list[str]:
    return ["93.184.216.34"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_label_studios_redirect_to_an_internal_address_is_refused(
    studio: Site, other: Site, fetcher: Fetcher, status: int
) -> None:
    studio.answer = redirect(other.url + "/bucket/x.jpg?X-Amz-Signature=private", status)
    with pytest.raises(Forbidden, match=r"internal address 127\.0\.0\.1.*THRESHER_MEDIA_HOSTS") as caught:
        fetcher.fetch(1, "s3://bucket/x.jpg")
    assert "private" not in str(caught.value)
    assert other.asked == []


def test_it_is_followed_to_a_configured_host_without_the_token(studio: Site, other: Site) -> None:
    studio.answer = redirect(other.url + "/bucket/x.jpg?X-Amz-Signature=ok")
    with Fetcher(studio.url, headers, allowed_hosts=["127.0.0.1"]) as fetcher:
        assert fetcher.fetch(1, "s3://bucket/x.jpg") == (PICTURE, "x.jpg")
    (asked,) = other.asked
    assert asked.query == {"X-Amz-Signature": "ok"}
    assert asked.token is None
    assert "cookie" not in asked.headers


def test_a_checked_host_is_reached_at_the_checked_address(
    studio: Site, other: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's name is looked up once; the request goes to what was checked, with the name in Host."""
    monkeypatch.setattr("backend.studio.addresses.is_public", lambda address: True)
    looked: list[tuple[str, int]] = []

    def lookup(host: str, port: int) -> list[str]:
        looked.append((host, port))
        return ["127.0.0.1"]

    studio.answer = redirect(f"http://storage.invalid:{other.port}/x.jpg?sig=1")
    with Fetcher(studio.url, headers, lookup=lookup) as fetcher:
        assert fetcher.fetch(1, "s3://bucket/x.jpg") == (PICTURE, "x.jpg")
    assert looked == [("storage.invalid", other.port)]
    (asked,) = other.asked
    assert asked.headers["host"] == f"storage.invalid:{other.port}"
    assert (asked.token, asked.query) == (None, {"sig": "1"})


@pytest.mark.parametrize("found", [["10.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::ffff:127.0.0.1"], []])
def test_one_internal_address_among_several_is_enough_to_refuse(studio: Site, found: list[str]) -> None:
    studio.answer = redirect("https://storage.example.com/x.jpg")
    with (
        Fetcher(studio.url, headers, lookup=lambda host, port: found) as fetcher,
        pytest.raises(Forbidden, match="address"),
    ):
        fetcher.fetch(1, "s3://bucket/x.jpg")


def test_an_unknown_host_is_refused(studio: Site) -> None:
    def nobody(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    studio.answer = redirect("https://storage.invalid/x.jpg")
    with Fetcher(studio.url, headers, lookup=nobody) as fetcher, pytest.raises(Forbidden, match="unknown"):
        fetcher.fetch(1, "s3://bucket/x.jpg")


def test_a_configured_host_may_not_send_us_elsewhere(studio: Site, other: Site) -> None:
    with Site(picture) as third:
        other.answer = redirect(third.url + "/x.jpg")
        allowed = [f"127.0.0.1:{other.port}"]
        with (
            Fetcher(studio.url, headers, allowed_hosts=allowed, lookup=public) as fetcher,
            pytest.raises(Forbidden, match="THRESHER_MEDIA_HOSTS"),
        ):
            fetcher.fetch(1, other.url + "/x.jpg")
        assert third.asked == []


def test_nor_may_the_storage_that_label_studio_pointed_to(studio: Site, other: Site) -> None:
    with Site(picture) as third:
        studio.answer = redirect(other.url + "/x.jpg")
        other.answer = redirect(third.url + "/x.jpg")
        allowed = [f"127.0.0.1:{other.port}"]
        with (
            Fetcher(studio.url, headers, allowed_hosts=allowed, lookup=public) as fetcher,
            pytest.raises(Forbidden, match="THRESHER_MEDIA_HOSTS"),
        ):
            fetcher.fetch(1, "s3://bucket/x.jpg")
        assert third.asked == []


def test_back_at_label_studio_the_token_is_sent_again_but_only_there(studio: Site, other: Site) -> None:
    other.answer = redirect(studio.url + "/data/upload/3/x.jpg")
    with Fetcher(studio.url, headers, allowed_hosts=[f"127.0.0.1:{other.port}"]) as fetcher:
        assert fetcher.fetch(1, other.url + "/x.jpg")[0] == PICTURE
    assert [asked.token for asked in other.asked] == [None]
    assert [asked.token for asked in studio.asked] == [TOKEN]


def test_a_redirect_to_the_login_page_is_no_picture(studio: Site, fetcher: Fetcher) -> None:
    page = Reply(b"<html>", headers={"content-type": "text/html; charset=utf-8"})
    studio.answer = lambda asked: (
        page if "login" in asked.path else Reply(None, 302, {"location": "/user/login/?next=/data/"})
    )
    with pytest.raises(BadImage, match="login needed"):
        fetcher.fetch(1, "/data/local-files/?d=a/x.jpg")
    assert [asked.token for asked in studio.asked] == [TOKEN, None]


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://u:p@127.0.0.1/x", "\\\\h\\x"]
)
def test_redirects_to_what_is_no_address(studio: Site, fetcher: Fetcher, to: str) -> None:
    studio.answer = redirect(to)
    with pytest.raises(Forbidden):
        fetcher.fetch(1, "s3://bucket/x.jpg")
    assert len(studio.asked) == 1


def test_redirects_to_what_cannot_be_read(studio: Site, fetcher: Fetcher) -> None:
    studio.answer = redirect("http://[::1")
    with pytest.raises((Forbidden, StudioError), match=r"Invalid|readable"):
        fetcher.fetch(1, "s3://bucket/x.jpg")


def test_redirects_end(studio: Site, fetcher: Fetcher) -> None:
    studio.answer = redirect("/data/upload/3/x.jpg")
    with pytest.raises(Forbidden, match="redirects"):
        fetcher.fetch(1, "/data/upload/3/x.jpg")
    assert len(studio.asked) == HOPS + 1


def test_cookies_stay_where_they_were_baked(studio: Site, other: Site) -> None:
    studio.answer = lambda asked: Reply(PICTURE, headers={"set-cookie": "sessionid=private; Path=/"})
    with Fetcher(studio.url, headers, allowed_hosts=["127.0.0.1"]) as fetcher:
        fetcher.fetch(1, "/data/upload/3/x.jpg")
        fetcher.fetch(1, other.url + "/x.jpg")
    assert "cookie" not in other.asked[0].headers


# ---- data: URLs


def test_inline_pictures(studio: Site, fetcher: Fetcher) -> None:
    encoded = base64.b64encode(PICTURE).decode()
    assert fetcher.fetch(1, f"data:image/png;base64,{encoded}") == (PICTURE, "inline.png")
    assert fetcher.fetch(1, f"DATA:image/jpeg;base64,{quote(encoded)}") == (PICTURE, "inline.jpg")
    assert fetcher.fetch(1, "data:,%41b") == (b"Ab", "inline")
    assert studio.asked == []


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("data:image/png;base64", "comma"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,a", "base64"),
        ("data:image/png;base64,!!!!", "base64"),
        ("data:image/png;base64," + base64.b64encode(b"x" * 1001).decode(), "larger"),
        ("data:image/png;base64," + "A" * 100_000, "larger"),
        ("data:image/png," + "x" * 1001, "larger"),
        ("data:image/png," + "x" * 100_000, "larger"),
    ],
)
def test_inline_data_that_is_no_picture(fetcher: Fetcher, uri: str, says: str) -> None:
    with pytest.raises(BadImage, match=says):
        fetcher.fetch(1, uri)


# ---- a shared document root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    inside = tmp_path / "documents"
    (inside / "bins").mkdir(parents=True)
    (inside / "bins" / "满.png").write_bytes(b"local")
    (inside / "bins" / "large.png").write_bytes(b"x" * 1001)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (inside / "bins" / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "bins" / "short.png").symlink_to(inside / "bins" / "满.png")
    return inside


def test_local_files_are_read_where_the_root_is_shared(studio: Site, root: Path) -> None:
    with Fetcher(studio.url, headers, local_roots=[root], max_bytes=1000) as fetcher:
        for uri in ("/data/local-files/?d=bins/满.png", studio.url + "/data/local-files/?d=bins%2F满.png"):
            assert fetcher.fetch(1, uri) == (b"local", "满.png")
        assert fetcher.fetch(1, "/data/local-files/?d=bins/short.png")[0] == b"local"
        assert studio.asked == []
        with pytest.raises(Forbidden, match="by a link"):
            fetcher.fetch(1, "/data/local-files/?d=bins/link.png")
        with pytest.raises(BadImage, match="larger"):
            fetcher.fetch(1, "/data/local-files/?d=bins/large.png")
        assert studio.asked == []
        assert fetcher.fetch(1, "/data/local-files/?d=bins/other.png") == (PICTURE, "other.png")
    assert len(studio.asked) == 1


# ---- addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "240.0.0.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
        "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:a00:1::",
        "2001:0:5ef5:79fd::1",
    ],
)  # fmt: skip
def test_internal_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "017700000001", "localhost", "127.1"])
def test_odd_spellings_of_this_machine_are_seen_through(studio: Site, fetcher: Fetcher, host: str) -> None:
    studio.answer = redirect(f"http://{host}:9/x.jpg")
    with pytest.raises(Forbidden, match=r"internal address|unknown here"):
        fetcher.fetch(1, "s3://bucket/x.jpg")


@pytest.mark.parametrize(
    ("allowed", "url", "is_in"),
    [
        ("images.example.com", "https://images.example.com/x", True),
        ("Images.Example.com.", "http://images.example.com:81/x", True),
        ("images.example.com:81", "http://images.example.com:81/x", True),
        ("images.example.com:81", "http://images.example.com/x", False),
        ("images.example.com:443", "https://images.example.com/x", True),
        ("images.example.com", "https://images.example.com.evil.org/x", False),
        ("images.example.com", "https://evil-images.example.com/x", False),
        ("images.example.com", "https://a.images.example.com/x", False),
        ("*.example.com", "https://a.b.example.com/x", True),
        ("*.example.com", "https://example.com/x", False),
        ("*.example.com", "https://badexample.com/x", False),
        ("[::1]:9000", "http://[::1]:9000/x", True),
        ("::1", "http://[::1]:9000/x", True),
    ],
)
def test_configured_hosts(allowed: str, url: str, is_in: bool) -> None:
    assert (httpx.URL(url) in Hosts([allowed, " "])) is is_in


@pytest.mark.parametrize("entry", ["http://example.com", "example.com/x", "*", "*."])
def test_hosts_that_are_none(entry: str) -> None:
    with pytest.raises(Forbidden, match="THRESHER_MEDIA_HOSTS"):
        Hosts([entry])


@given(st.text())
@example(".")
@example("a/..")
def test_names_are_single_printable_and_short(path: str) -> None:
    name = clean_name(path)
    assert 1 <= len(name) <= 120
    assert "/" not in name
    assert "\\" not in name
    assert name.isprintable()
    assert name not in (".", "..")


def test_names_keep_their_ending() -> None:
    assert clean_name("a/" + "x" * 300 + ".jpeg").endswith("x.jpeg")
    assert file_name(httpx.URL("http://h/tasks/1/resolve/?fileuri=a")) == "a"
    assert file_name(httpx.URL("http://h/")) == "picture"


def test_addresses_are_shown_without_their_secrets() -> None:
    assert shown("https://user:pw@h/x.jpg?sig=1#f") == "https://h/x.jpg"
    assert len(shown("http://h/" + "x" * 500)) == 120
    assert shown("http://[::1") == "the address"
