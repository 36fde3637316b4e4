"""The long-running commands: the API that Label Studio speaks to, and the worker."""

from __future__ import annotations

import fcntl
import logging
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from backend import processes, worker
from backend.house import open_house
from backend.logs import set_up_logging
from backend.settings import Settings, child_environment
from pool.schema import BadInput, NotReady

log = logging.getLogger("thresher.service")

RESTART_SECONDS = 1.0


def serve(settings: Settings, *, with_worker: bool) -> None:
    """Serve until a signal comes; the worker process, if any, ends with us."""
    import uvicorn

    from backend.app import create_app

    check_auth(settings)
    processes.require_free_port(settings.host, settings.port, "PORT")
    set_up_logging(settings)
    keeper = Keeper(settings) if with_worker else None
    try:
        uvicorn.run(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            access_log=settings.log_level == "DEBUG",
            timeout_graceful_shutdown=5,
        )
    finally:
        if keeper is not None:
            keeper.close()


class Keeper:
    """A worker process, started again when it dies: nobody else would notice."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._closing = settings, threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._watch, name="keeper")
        self._thread.start()

    def close(self) -> None:
        """End the worker."""
        self._closing.set()
        self._thread.join()

    def _start(self) -> subprocess.Popen[bytes]:
        return processes.start(processes.own_command("worker"), child_environment(self._settings))

    def _watch(self) -> None:
        # The child dies with the thread that started it, so this thread starts every later one and
        # outlives them all; the first is replaced at once if its starter is gone.
        pause = RESTART_SECONDS
        while not self._closing.wait(0.5):
            if self._process.poll() is not None:
                log.error("the worker ended with code %s; starting another", self._process.returncode)
                if self._closing.wait(pause):
                    break
                pause = min(pause * 2, 60.0)
                self._process = self._start()
        processes.stop(self._process)


def work(settings: Settings) -> None:
    """Run jobs until SIGTERM or Ctrl-C."""
    set_up_logging(settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_house(settings) as house, only_worker(settings):
        worker.run(house, stop)


@contextmanager
def only_worker(settings: Settings) -> Iterator[None]:
    """Hold the data folder's worker lock; the kernel lets go of it when this process ends in any way.

    Raises:
        NotReady: another worker holds it. Two would run the same interrupted job at once.
    """
    with (settings.data_dir / "worker.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NotReady(
                f"Another worker already works on {settings.data_dir}: `thresher serve` starts one by "
                "itself, and `thresher serve --no-worker` does not."
            ) from None
        yield


def check_auth(settings: Settings) -> None:
    """Half a log-in would look like one and be none.

    Raises:
        BadInput: only one of user and password is set.
    """
    if (settings.basic_user is None) != (settings.basic_pass is None):
        raise BadInput(
            "BASIC_AUTH_USER and BASIC_AUTH_PASS",
            "both set or both empty",
            "only one of them",
            "Set the other one too.",
        )
