"""Logging for the long-running processes."""

from __future__ import annotations

import logging

from backend.settings import Settings

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def set_up_logging(settings: Settings) -> None:
    """Our own loggers at the wanted level, libraries only when they warn."""
    logging.basicConfig(level=logging.WARNING, format=FORMAT)
    logging.getLogger("thresher").setLevel(settings.log_level)
