from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import httpx
import pytest

from backend.demo.server import LabelStudioServer, environment, free_port, migrated_template
from backend.studio.client import Studio
from pool.schema import StudioError
from tests.live.conftest import CACHE
from tests.live.receiver import Receiver


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A child that ended but was not waited for still has its number.
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def gone(pid: int, seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not running(pid):
            return True
        time.sleep(0.05)
    return False


def test_a_copy_of_the_template_starts_quickly_and_again_with_everything_in_it(
    template: Path, tmp_path: Path
) -> None:
    server = LabelStudioServer(tmp_path / "ls", free_port(), template)
    told: list[float] = []
    began = time.monotonic()
    server.start(on_progress=lambda what, seconds: told.append(seconds))
    assert time.monotonic() - began < 60
    assert told == sorted(told)
    assert told
    first = server.admin
    token = server.add_user("eve@example.com", "eve-pass-1234", "Eve Adams")
    with Studio(server.url, first.token) as studio:
        project = studio.create_project("kept over a restart", "<View></View>")["id"]
    pid = server.pid
    assert pid is not None
    server.start()
    assert server.pid == pid
    server.stop()
    assert not running(pid)
    with server, Studio(server.url, server.admin.token) as studio:
        assert server.admin == first
        assert studio.project(project)["title"] == "kept over a restart"
        assert server.add_user("eve@example.com", "eve-pass-1234", "Eve Adams") == token
        assert "Eve Adams" in studio.users().values()


def test_a_busy_port_is_named_with_the_way_out(template: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = LabelStudioServer(tmp_path / "ls", port, template)
        with pytest.raises(StudioError, match=rf"Port {port} .*--studio-port"):
            server.start()
    assert server.pid is None
    assert not (tmp_path / "ls").exists()


def test_a_folder_whose_database_is_another_ones_is_refused(template: Path, tmp_path: Path) -> None:
    server = LabelStudioServer(tmp_path / "ls", free_port(), template)
    server.start()
    server.stop()
    (server.folder / "admin.json").write_text(
        '{"email": "admin@example.com", "password": "x", "token": "y"}'
    )
    with pytest.raises(StudioError, match=r"admin\.json"):
        server.start()
    assert server.pid is None


def test_the_server_dies_with_the_process_that_started_it(template: Path, tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from backend.demo.server import LabelStudioServer, free_port
        server = LabelStudioServer(Path({str(tmp_path / "ls")!r}), free_port(), Path({str(template)!r}))
        server.start()
        print(server.pid, flush=True)
        time.sleep(600)
    """)
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert running(child)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(child)


def test_a_server_that_cannot_start_says_why(template: Path, tmp_path: Path) -> None:
    server = LabelStudioServer(tmp_path / "ls", free_port(), template)
    server.folder.mkdir()
    (server.folder / "label_studio.sqlite3").write_bytes(b"no database at all" * 100)
    with pytest.raises(StudioError, match="file is not a database"):
        server.start()
    assert server.pid is None


def test_users_sign_up_once_and_wrong_passwords_are_refused(server: LabelStudioServer) -> None:
    token = server.add_user("carl@example.com", "carl-pass-1234", "Carl")
    assert server.add_user("carl@example.com", "carl-pass-1234", "Carl") == token
    with pytest.raises(StudioError, match="another password"):
        server.add_user("carl@example.com", "not-his-1234", "Carl")
    with pytest.raises(StudioError, match="8 characters"):
        server.add_user("dora@example.com", "short", "Dora")
    assert token != server.admin.token


def test_both_kinds_of_token_open_the_door(server: LabelStudioServer) -> None:
    personal = server.personal_token()
    assert personal == server.personal_token()
    for token in (personal, server.admin.token):
        with Studio(server.url, token) as studio:
            assert studio.me()["email"] == "admin@example.com"
            assert studio.version() == "1.23.2"


def test_loopback_is_open_and_the_metadata_address_stays_closed(
    server: LabelStudioServer, studio: Studio, receiver: Receiver
) -> None:
    project = int(studio.create_project("addresses", "<View></View>")["id"])
    backend = studio.create_backend(project, receiver.url, "reachable")
    assert backend["state"] == "CO"
    assert [hook["url"] for hook in studio.webhooks(project)] == [f"{receiver.url}/webhook"]
    studio.update_project(project, description="an event")
    assert receiver.wait(lambda body: body["action"] == "PROJECT_UPDATED") is not None
    for url in ("http://169.254.169.254", "http://10.0.0.1", "http://192.168.1.1"):
        for path, body in (
            ("/api/ml/", {"project": project, "url": url, "title": "closed"}),
            ("/api/webhooks/", {"project": project, "url": url}),
        ):
            answer = httpx.post(server.url + path, json=body, headers=studio.headers(), timeout=30)
            assert answer.status_code == 403, (url, path)
            assert "reserved network address" in answer.text
    assert len(studio.webhooks(project)) == 1


def test_nothing_leaks_in_from_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_COLLECT_ANALYTICS", "true")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.com")
    env = environment(Path("/srv/ls"), 8080)
    assert env["LABEL_STUDIO_COLLECT_ANALYTICS"] == "false"
    assert env["LABEL_STUDIO_SENTRY_DSN"] == ""
    assert "HTTP_PROXY" not in env
    assert not [key for key in env if "PASSWORD" in key or ("TOKEN" in key and "ENABLE" not in key)]


def test_the_template_is_made_once_even_if_two_ask(template: Path) -> None:
    began = time.monotonic()
    assert migrated_template(CACHE) == template
    assert time.monotonic() - began < 5
    assert [path.name for path in template.iterdir()] == ["label_studio.sqlite3"]
