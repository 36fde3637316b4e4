"""A headless Label Studio of our own: loopback only, no telemetry, gone when we are gone.

The server runs as a child process with an environment built from nothing, so that no variable of the
caller's shell changes what it does. Its folder holds everything it needs: database, media, session
key, the administrator's credentials (``admin.json``, readable by the owner only) and the log.
Creating Label Studio's database takes about a minute; `migrated_template` does that once and later
folders start from a copy.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import IO

import httpx

from backend.demo.accounts import sign_up, whose
from pool.schema import NotReady, StudioError

DATABASE = "label_studio.sqlite3"
OnProgress = Callable[[str, float], None]

# Label Studio refuses to talk to private addresses. Here its ML backend is on loopback, so exactly that
# is opened: the list below replaces its default one, which cannot be narrowed in part.
BANNED_SUBNETS = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
    *("::/128", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8"),
)

# The child watches a pipe whose other end only we hold: it reads the end of the pipe when we stop it,
# and also when we die in any way, kill -9 included. Unlike a parent-death signal this does not fire
# when merely the thread that started the child ends.
_CHILD = """
import os, sys, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
from label_studio.server import main
sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Admin:
    """The user that a fresh server begins with; ``token`` is a legacy API token."""

    email: str
    password: str = field(repr=False)
    token: str = field(repr=False)


def installed_version() -> str:
    """Version of the Label Studio that would be started.

    Raises:
        NotReady: it is not installed.
    """
    try:
        return metadata.version("label-studio")
    except metadata.PackageNotFoundError:
        raise NotReady("Label Studio is not installed here; run: pip install 'thresher[demo]'") from None


def environment(
    folder: Path, port: int, admin: Admin | None = None, settings: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Everything that Label Studio is told; nothing comes from the caller's own environment.

    ``settings`` are settings of Label Studio by name without ``LABEL_STUDIO_``; they win over ours.
    """
    values = {
        "BASE_DATA_DIR": str(folder),
        "HOST": f"http://127.0.0.1:{port}",
        "PORT": str(port),
        "DJANGO_DB": "sqlite",
        "LOG_LEVEL": "INFO",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "ENABLE_LEGACY_API_TOKEN": "true",
        "USE_DEFAULT_BANNED_SUBNETS": "false",
        "USER_ADDITIONAL_BANNED_SUBNETS": ",".join(BANNED_SUBNETS),
        # A person who closes the browser holds a task for an hour at most, not for a day.
        "TASK_LOCK_TTL": "3600",
    }
    if admin is not None:
        values |= {"USERNAME": admin.email, "PASSWORD": admin.password, "USER_TOKEN": admin.token}
    values |= settings or {}
    plain = {"PATH": os.defpath, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "LANG": "C.UTF-8"}
    return plain | {f"LABEL_STUDIO_{name}": value for name, value in values.items()}


def free_port() -> int:
    """A port of the loopback address on which nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def migrated_template(cache: Path, on_progress: OnProgress | None = None) -> Path:
    """Folder with an empty, fully migrated database of the installed version; made once, about 60 s.

    Two processes that ask at once build one template: the second waits. An interrupted build leaves
    nothing behind that could be taken for a finished one. The template holds no user and no session
    key, so copies share no secret.
    """
    ready = cache / f"label-studio-{installed_version()}"
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "template.lock"):
        if ready.is_dir():
            return ready
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as name:
            building = Path(name)
            _migrate(building, on_progress)
            finished = cache / f"{ready.name}.part"
            shutil.rmtree(finished, ignore_errors=True)
            finished.mkdir()
            shutil.copy2(building / DATABASE, finished / DATABASE)
            # Kept in the file itself: readers no longer wait for writers, a write costs a sixth less.
            with contextlib.closing(sqlite3.connect(finished / DATABASE)) as database:
                database.execute("PRAGMA journal_mode=WAL")
            finished.rename(ready)
    return ready


class LabelStudioServer:
    """One Label Studio process on ``http://127.0.0.1:port``, its state in ``folder``.

    Use it as a context manager, or call `start` and `stop`. The folder outlives the process: starting
    again finds projects, users and credentials as they were. With ``template`` (see
    `migrated_template`) a new folder is ready in seconds. ``settings`` as in `environment`.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 8080,
        template: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = dict(settings or {})
        self.folder = folder.resolve()
        self.port = port
        self.template = template
        self.url = f"http://127.0.0.1:{port}"
        self.log = self.folder / "label-studio.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LabelStudioServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def admin(self) -> Admin:
        """The administrator; drawn at the first start and kept in the folder.

        Raises:
            NotReady: the server was never started in this folder.
        """
        kept = self.folder / "admin.json"
        if not kept.exists():
            raise NotReady(f"No Label Studio was ever started in {self.folder}; call start first.")
        return Admin(**json.loads(kept.read_text()))

    @property
    def pid(self) -> int | None:
        """Process id of the running server, None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self, on_progress: OnProgress | None = None, timeout: float = 240.0) -> None:
        """Start and return once the server answers; calling it on a running server does nothing.

        ``on_progress`` gets what is being waited for and the seconds so far, about once a second.

        Raises:
            StudioError: the port is taken, the process ended, or it did not answer in ``timeout`` seconds.
            NotReady: Label Studio is not installed.
        """
        if self.pid is not None:
            return
        installed_version()
        _claim(self.port)
        admin = self._prepare()
        self._process = _spawn(
            ["start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(self.port)],
            environment(self.folder, self.port, admin, self._settings),
            self.folder,
            self.log,
        )
        try:
            self._wait(on_progress, timeout)
            self._recognise(admin)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the process that this object started, and no other."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    def add_user(self, email: str, password: str, name: str) -> str:
        """Legacy API token of the user with this e-mail address, who is created if need be.

        ``name`` is shown to reviewers. Calling it again returns the same token.

        Raises:
            StudioError: the address is taken by a user with another password, or was refused.
        """
        return sign_up(self.url, self.admin.token, email=email, password=password, name=name)

    def personal_token(self) -> str:
        """A personal access token of the administrator; made once and kept in the folder."""
        kept = self.folder / "personal-token"
        if not kept.exists():
            answer = httpx.post(
                f"{self.url}/api/token/", headers={"Authorization": f"Token {self.admin.token}"}, timeout=30
            )
            if answer.status_code != httpx.codes.CREATED:
                raise StudioError(f"Label Studio made no personal access token: {answer.text[:200]}")
            write_private(kept, answer.json()["token"])
        return kept.read_text()

    def _prepare(self) -> Admin:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.template is not None and not (self.folder / DATABASE).exists():
            # A copy that is cut short must not be taken for a database at the next start.
            part = self.folder / f"{DATABASE}.part"
            shutil.copyfile(self.template / DATABASE, part)
            part.rename(self.folder / DATABASE)
        kept = self.folder / "admin.json"
        if not kept.exists():
            admin = Admin("admin@example.com", secrets.token_urlsafe(12), secrets.token_hex(20))
            write_private(kept, json.dumps(asdict(admin)))
        return self.admin

    def _wait(self, on_progress: OnProgress | None, timeout: float) -> None:
        process, began = self._process, time.monotonic()
        assert process is not None
        said = -1.0
        with httpx.Client(base_url=self.url, timeout=2.0, trust_env=False) as http:
            while process.poll() is None:
                with contextlib.suppress(httpx.HTTPError):
                    if http.get("/health").status_code == httpx.codes.OK:
                        return
                waited = time.monotonic() - began
                if waited > timeout:
                    raise StudioError(
                        f"Label Studio did not answer in {timeout:.0f} s; its log is {self.log}"
                    )
                if on_progress is not None and waited - said >= 1.0:
                    said = waited
                    on_progress("Label Studio starts", waited)
                time.sleep(0.1)
        raise StudioError(
            f"Label Studio ended with code {process.returncode} before it answered.\n{_tail(self.log)}"
        )

    def _recognise(self, admin: Admin) -> None:
        """Make sure that the answering server is ours: Label Studio quietly moves off a taken port."""
        if whose(self.url, admin.token) != admin.email:
            raise StudioError(
                f"Another Label Studio answers on {self.url}, or the database in {self.folder} is not the "
                "one that admin.json belongs to. Stop the other server, or choose another port or folder."
            )


def _claim(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StudioError(
                f"Port {port} cannot be used ({error.strerror}). Stop what listens there, "
                "or name another port with --studio-port."
            ) from None


def _spawn(
    arguments: list[str], env: Mapping[str, str], folder: Path, log: Path
) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD, *arguments],
            env=dict(env),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            # A Ctrl-C in the terminal is for us: we then stop the server in order.
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes], patience: float = 10.0) -> None:
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _migrate(folder: Path, on_progress: OnProgress | None) -> None:
    log = folder / "migrate.log"
    process = _spawn(["version"], environment(folder, free_port()), folder, log)
    began = time.monotonic()
    try:
        while process.poll() is None:
            if on_progress is not None:
                on_progress("Label Studio creates its database, once", time.monotonic() - began)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
    finally:
        if process.poll() is None:
            _end(process)
        elif process.stdin is not None:
            process.stdin.close()
    if process.returncode != 0 or not (folder / DATABASE).exists():
        raise StudioError(f"Label Studio could not create its database.\n{_tail(log)}")


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def write_private(path: Path, text: str) -> None:
    """Write a small file that only its owner may read; never half-written."""
    part = path.with_suffix(".part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:  # noqa: PTH123
        out.write(text)
    part.rename(path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield held
