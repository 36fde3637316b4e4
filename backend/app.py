"""The HTTP door: what Label Studio asks of an ML backend, and what Prometheus asks of a service.

/health and /setup answer from memory: Label Studio asks them before everything else, and a page of
its own waits. /webhook answers once the event is on disk. /predict waits for a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic import ValidationError
from starlette.datastructures import State

from backend import heartbeat
from backend.guard import SECRET_HEADER, Guard
from backend.house import House
from backend.inbox import Inbox
from backend.metrics import exposition
from backend.pages import JSON, Reports
from backend.predictor import Predictor
from backend.settings import Settings
from backend.studio import protocol
from backend.studio.addresses import clean_name
from pool.schema import BadInput, NotReady, ThresherError, UnknownRecord

log = logging.getLogger("thresher.app")

Result = TypeVar("Result")
NOT_CONNECTED = "thresher-not-connected"
REFRESH_SECONDS = 1.0


@dataclass
class Memory:
    """What /setup and the secret check need, so that neither touches the ledger."""

    versions: dict[int, str] = field(default_factory=dict)
    secrets: dict[int, str] = field(default_factory=dict)

    def refresh(self, house: House) -> None:
        """Read champions and secrets from the ledger."""
        projects = house.pool.projects()
        champions = {p.id: house.pool.champion(p.id) for p in projects}
        self.versions = {project: m.version for project, m in champions.items() if m is not None}
        self.secrets = {p.id: p.secret for p in projects}


def create_app(settings: Settings) -> FastAPI:
    """The service; opening it starts nothing that outlives it."""
    memory = Memory()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        house = House(settings)
        app.state.house, app.state.inbox, app.state.predictor = (
            house,
            Inbox(house.pool),
            Predictor(settings),
        )
        app.state.reports = Reports(house)
        # Of their own, so that nobody who waits for a report holds a thread that a prediction needs.
        app.state.readers = ThreadPoolExecutor(1, "reports")
        memory.refresh(house)
        watcher = asyncio.create_task(_watch(memory, app.state))
        yield
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
        await app.state.inbox.close()
        app.state.predictor.close()
        app.state.readers.shutdown(cancel_futures=True)
        house.close()

    app = FastAPI(title="thresher", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, settings=settings, secrets=lambda: memory.secrets.values())
    _errors(app)
    _routes(app, settings, memory)
    return app


async def _watch(memory: Memory, state: State) -> None:
    """Follow the ledger; a new champion's weights are loaded before somebody waits for them."""
    warm: dict[int, str] = {}
    said = 0
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        for project in [p for p, version in memory.versions.items() if warm.get(p) != version]:
            warm[project] = memory.versions[project]
            state.predictor.warm(project)
        try:
            await asyncio.to_thread(memory.refresh, state.house)
            if state.inbox.received != said:
                said = state.inbox.received
                await asyncio.to_thread(heartbeat.hear, state.house.pool, said)
        except (
            Exception
        ):  # whatever it was, what is in memory still holds, and the next second may be better
            log.exception("cannot read the ledger; going on with what is known")


def _errors(app: FastAPI) -> None:
    """Domain errors as one sentence, a wrong body as the field that is wrong."""

    @app.exception_handler(ThresherError)
    async def sentence(_: Request, error: Exception) -> Response:
        log.warning("%s", error)
        status = 404 if isinstance(error, UnknownRecord) else 503 if isinstance(error, NotReady) else 400
        return JSONResponse({"error": str(error)}, status)

    @app.exception_handler(ValidationError)
    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, ValidationError)
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "body"
        return JSONResponse({"error": f"{where}: {first['msg']}", "got": repr(first["input"])[:200]}, 400)


def _routes(app: FastAPI, settings: Settings, memory: Memory) -> None:
    # Plain routes: what comes in is parsed by `protocol`, and answers that somebody waits for should
    # not pass through a second validation.
    async def health(_: Request) -> Response:
        return JSONResponse(protocol.health(next(iter(memory.versions.values()), None)))

    async def setup(request: Request) -> Response:
        asked = protocol.SetupRequest.model_validate(await _json(request))
        return JSONResponse(protocol.setup(memory.versions.get(asked.project_id, NOT_CONNECTED)))

    async def versions(request: Request) -> Response:
        house: House = request.app.state.house

        def known() -> list[str]:
            return [m.version for p in house.pool.projects() for m in house.pool.models(p.id)]

        return JSONResponse(protocol.versions(await asyncio.to_thread(known)))

    async def predict(request: Request) -> Response:
        asked = protocol.PredictRequest.model_validate(await _json(request))
        project = asked.project_id
        if project not in memory.versions:  # connected within the last second, perhaps
            await asyncio.to_thread(memory.refresh, request.app.state.house)
        if project is None or project not in memory.versions:
            # An error makes Label Studio store nothing; an empty result would stay as the model's word.
            raise UnknownRecord(f"Project {project} is not connected: run `thresher connect {project}`.")
        predictor: Predictor = request.app.state.predictor
        version, found = await asyncio.to_thread(predictor.answer, project, asked)
        return JSONResponse(protocol.predictions(asked.tasks, found, version))

    async def stream(request: Request) -> Response:
        project = _project(request, memory)
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        data, url = None, ""
        if kind == "application/json":
            url = str(_parsed(await _bytes(request, 2 * settings.max_image_bytes)).get("url") or "")
        else:
            data = await _bytes(request, settings.max_image_bytes)
        if not data and not url:
            raise BadInput("body", 'an image, or {"url": "where it lies"}', kind or "nothing")
        name = clean_name(request.query_params.get("name", "image"))
        predictor: Predictor = request.app.state.predictor
        return JSONResponse(await asyncio.to_thread(predictor.arrive, project, data, url, name))

    async def webhook(request: Request) -> Response:
        body = await _json(request)
        # The Start Training button cannot carry the secret; all it can cause is one queued training.
        trusted = SECRET_HEADER in request.headers or settings.basic_user is not None
        events = [e for e in protocol.events(body) if trusted or e.action == protocol.START_TRAINING]
        if events:
            await request.app.state.inbox.put(events)
        return JSONResponse({"status": "ok", "events": len(events)}, 201 if events else 200)

    async def metrics(request: Request) -> Response:
        text = await asyncio.to_thread(exposition, request.app.state.house)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def consensus(request: Request) -> Response:
        reports: Reports = request.app.state.reports
        text, headers = await _apart(request, reports.page, int(request.path_params["project"]))
        return HTMLResponse(text, headers=headers)

    async def consensus_file(request: Request) -> Response:
        reports: Reports = request.app.state.reports
        project, name = int(request.path_params["project"]), str(request.path_params["name"])
        text, kind = await _apart(request, reports.file, project, name)
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        if kind != JSON:
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return Response(text, media_type=kind, headers=headers)

    for path, methods, handler in (
        ("/", ["GET"], health),
        ("/health", ["GET"], health),
        ("/setup", ["POST"], setup),
        ("/predict", ["POST"], predict),
        ("/webhook", ["POST"], webhook),
        ("/api/stream", ["POST"], stream),
        ("/versions", ["GET"], versions),
        ("/metrics", ["GET"], metrics),
        ("/projects/{project:int}/consensus", ["GET"], consensus),
        ("/projects/{project:int}/consensus/{name}", ["GET"], consensus_file),
    ):
        app.add_route(path, handler, methods=methods)


def _project(request: Request, memory: Memory) -> int:
    """The project that a request names, or the only one there is."""
    named = request.query_params.get("project")
    known = sorted(memory.versions)
    if named is None and len(known) == 1:
        return known[0]
    if named is None or named not in {str(project) for project in known}:
        raise BadInput("project", f"one of {', '.join(map(str, known)) or 'no project yet'}", named)
    return int(named)


async def _apart(request: Request, work: Callable[..., Result], *given: object) -> Result:
    """Do something that may take seconds in the thread of the reports."""
    readers: ThreadPoolExecutor = request.app.state.readers
    return await asyncio.get_running_loop().run_in_executor(readers, work, *given)


async def _bytes(request: Request, most: int) -> bytes:
    """The body, refused as soon as it is larger than an image may be."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > most:
            raise BadInput("body", f"at most {most / 1e6:g} MB", "more", "Set THRESHER_MAX_IMAGE_MB.")
    return bytes(data)


async def _json(request: Request) -> dict[str, Any]:
    return _parsed(await request.body())


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ThresherError("The body must be a JSON object.")
    return body
