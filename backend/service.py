"""The long-running commands: the API that Label Studio speaks to, and the worker."""

from __future__ import annotations

import signal
import threading

from backend import processes, worker
from backend.house import open_house
from backend.logs import set_up_logging
from backend.settings import Settings, child_environment
from pool.schema import BadInput


def serve(settings: Settings, *, with_worker: bool) -> None:
    """Serve until a signal comes; the worker process, if any, ends with us."""
    import uvicorn

    from backend.app import create_app

    check_auth(settings)
    processes.require_free_port(settings.host, settings.port, "PORT")
    set_up_logging(settings)
    helper = (
        processes.start(processes.own_command("worker"), child_environment(settings))
        if with_worker
        else None
    )
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
        if helper is not None:
            processes.stop(helper)


def work(settings: Settings) -> None:
    """Run jobs until SIGTERM or Ctrl-C."""
    set_up_logging(settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_house(settings) as house:
        worker.run(house, stop)


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
