"""Another process at the same ledger: ``player.py URL PLAY [ARGUMENT ...]``.

It opens its imports, says "ready", waits for a line on its input and plays. Started as a file, so
that it needs nothing but the installed project.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np

from pool import migrate as migration
from pool.database import Database
from pool.rows import EVENTS
from pool.schema import Annotation, Box, Event, Prediction, Region
from pool.store import Pool
from pool.tables import events

START = datetime(2026, 3, 1, tzinfo=UTC)


def sha(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()


def say(word: object) -> None:
    print(word, flush=True)


def play_open(url: str) -> None:
    with Pool.open(url) as pool:
        say(pool.inbox_size())


def play_receive(url: str, name: str, own: str, common: str) -> None:
    """Receive own events, each followed by one that the others send too; say how many were new."""
    new = 0
    with Pool.open(url) as pool:
        for i in range(max(int(own), int(common))):
            if i < int(own):
                new += pool.receive([Event(f"{name}-{i:05d}", 1, "A", {"i": i})])
            if i < int(common):
                new += pool.receive([Event(f"common-{i:05d}", 1, "A", {})])
    say(new)


def play_crossing(url: str, turns: str, step: str) -> None:
    """Receive batches of the same keys, forwards (step 1) or backwards (step -1)."""
    new = 0
    with Pool.open(url) as pool:
        for turn in range(int(turns)):
            batch = [Event(f"{turn:03d}-{i:03d}", 1, "A", {}) for i in range(100)]
            new += pool.receive(batch[:: int(step)])
    say(new)


def play_predict(url: str, count: str, rounds: str) -> None:
    """Write ``count`` predictions again and again, each time with another uncertainty."""
    with Pool.open(url) as pool:
        for turn in range(int(rounds)):
            pool.save_predictions([prediction(i, turn) for i in range(int(count))])
            say(turn)


def prediction(number: int, turn: int) -> Prediction:
    """Its parts agree: a reader can tell a torn one from a whole one."""
    boxes = 1 + turn % 5
    return Prediction(
        sha(str(number)),
        "v1",
        tuple(Region("垃圾", Box(0.0, 0.0, 1.0, 1.0), score=turn % 97 / 97) for _ in range(boxes)),
        ("bin",),
        uncertainty=turn % 97 / 97,
        measure=str(turn),
        probs=np.full((boxes, 1), turn % 97, dtype=np.float16),
    )


def play_annotate(url: str, seed: str) -> None:
    """Send fifty states of forty annotations in an order of its own."""
    states = [(number, turn) for number in range(40) for turn in range(50)]
    order = np.random.default_rng(int(seed)).permutation(len(states))
    with Pool.open(url) as pool:
        for part in np.array_split(order, 60):
            pool.save_annotations([annotation(*states[place]) for place in part])


def annotation(number: int, turn: int) -> Annotation:
    at = START + timedelta(seconds=turn)
    return Annotation(number, 1, number, sha("0"), "ann", (), START, at, lead_time=float(turn))


def play_promote(url: str, version: str, times: str) -> None:
    with Pool.open(url) as pool:
        for _ in range(int(times)):
            pool.promote(version)


def play_half_a_write(url: str) -> None:
    """Stop in the middle of a write, holding its lock."""
    db = Database(url)
    with db.write() as connection:
        rows = [EVENTS.row(Event(f"half-{i}", 1, "A", {})) | {"finished": False} for i in range(500)]
        connection.execute(events.insert(), rows)
        say("half")
        time.sleep(600)


def play_half_a_migration(url: str) -> None:
    """Stop between making the tables and committing them."""
    db = Database(url)
    with db.write() as connection:
        migration._upgrade(db, connection, None)
        say("half")
        time.sleep(600)


def play_fork(url: str) -> None:
    """Open, fork, and use the ledger on both sides."""
    with Pool.open(url) as pool:
        pool.receive([Event("before", 1, "A", {})])
        child = os.fork()
        if child == 0:
            new = sum(pool.receive([Event(f"child-{i}", 1, "A", {})]) for i in range(50))
            os._exit(0 if new == 50 else 1)
        new = sum(pool.receive([Event(f"parent-{i}", 1, "A", {})]) for i in range(50))
        _, status = os.waitpid(child, 0)
        new += pool.receive([Event("after", 1, "A", {})])
        say(json.dumps([new, os.waitstatus_to_exitcode(status), pool.inbox_size()]))


PLAYS: dict[str, Callable[..., None]] = {
    "open": play_open,
    "receive": play_receive,
    "crossing": play_crossing,
    "predict": play_predict,
    "annotate": play_annotate,
    "promote": play_promote,
    "half-a-write": play_half_a_write,
    "half-a-migration": play_half_a_migration,
    "fork": play_fork,
}

if __name__ == "__main__":
    say("ready")
    sys.stdin.readline()
    PLAYS[sys.argv[2]](sys.argv[1], *sys.argv[3:])
