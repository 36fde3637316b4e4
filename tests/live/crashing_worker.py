"""A worker that is killed with SIGKILL in one step of one kind of job: ``KIND INDEX within|after``.

``within`` dies while the step works (at its second notice of progress), ``after`` when the step has
done everything and nothing was written down about that yet.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backend import service, settings, workflows
from backend.house import House, Job


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(kind: str, index: int, when: str) -> None:
    steps = list(workflows.WORKFLOWS[kind])
    name, run = steps[index]

    def deadly(house: House, project: int, job: Job, known: Mapping[str, Any]) -> dict[str, Any]:
        notices = 0

        def tell(step: str, done: int, total: int, note: str = "") -> None:
            nonlocal notices
            notices += 1
            job.tell(step, done, total, note)
            if when == "within" and notices == 2:
                die()

        report = run(house, project, replace(job, tell=tell), known)
        die()
        return report

    steps[index] = (name, deadly)
    workflows.WORKFLOWS[kind] = tuple(steps)
    service.work(settings.load())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
