"""Processes of our own: they die with us, and we end only what we started."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pool.schema import BadInput

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends; a no-op outside Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def start(
    argv: Sequence[str], env: Mapping[str, str], log: Path | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that Ctrl-C reaches only us and we end it in order."""
    sink = log.open("ab") if log else None
    try:
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT if sink else None,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    finally:
        if sink:
            sink.close()


def stop(process: subprocess.Popen[bytes], patience: float = 15.0) -> None:
    """End a process that ``start`` made: politely, then not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def own_command(*words: str) -> list[str]:
    """The command line of this very program."""
    return [sys.executable, "-m", "backend.cli", *words]


def require_free_port(host: str, port: int, setting: str) -> None:
    """Say so before anything starts, if somebody listens already.

    Raises:
        BadInput: the port is taken.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as error:
            raise BadInput(
                "THRESHER_HOST", "an address of this machine", host, str(error.strerror)
            ) from None
        except OSError as error:
            raise BadInput(
                setting,
                "a free port",
                port,
                f"Another program uses it ({error.strerror}): end that one or choose another.",
            ) from None
