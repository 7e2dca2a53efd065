"""The page on which a text is typed: which features are active in it, and how it continues while some are set."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from autointerp.explorer.live import limits
from autointerp.explorer.live.host import JobRefused
from autointerp.explorer.live.process import ModelFailed
from autointerp.explorer.live.questions import Continuing, Reading, read_question
from autointerp.explorer.live.ranking import FREQUENT, shown
from autointerp.explorer.live.visitors import Counted
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.guard import QUESTIONS
from autointerp.explorer.web.model import host, model_of, part_of, unless_gone
from autointerp.explorer.web.site import answer, reader, render

_LINES = "application/x-ndjson"
_LIMITS = {
    "characters": limits.CHARACTERS, "tokens": limits.TOKENS, "new_tokens": limits.NEW_TOKENS, "units": limits.UNITS,
    "factor": limits.FACTOR, "temperature": limits.TEMPERATURE, "frequent": FREQUENT,
}  # fmt: skip


def routes(prefix: str) -> list[Route]:
    """The page, and what it asks the model: to be open, to read a text, and to continue one."""
    asked = {"open": opened, "read": read, "continue": continued}
    return [
        Route(f"{prefix}/try", show),
        *(
            Route(f"{prefix}{QUESTIONS}{name}", handler, methods=["POST"], middleware=[Middleware(Counted)])
            for name, handler in asked.items()
        ),
    ]


def show(request: Request) -> HTMLResponse:
    """The page."""
    return render(request, "try.html.j2", about=reader(request).about, limits=limits)


async def opened(request: Request) -> Response:
    """Answers once the model is open: what is known of it, and the limits of visitors."""

    async def work() -> JSONResponse:
        ready = await host(request).ready(model_of(request))
        return answer({**ready.model_dump(), "limits": _LIMITS})

    return await unless_gone(request, work())


async def read(request: Request) -> Response:
    """The active units of a text."""
    question = read_question(Reading, await request.body())

    async def work() -> JSONResponse:
        index = reader(request)
        await run_in_threadpool(_rows, index, question.units)
        part = await part_of(request, question)
        return answer(await run_in_threadpool(shown, index, part, question.units))

    return await unless_gone(request, work())


async def continued(request: Request) -> Response:
    """The continuations of a text, a line of JSON after each token; the last line says why they `end`, or the `error`."""
    question = read_question(Continuing, await request.body())
    index, source = reader(request), model_of(request)
    units = [each.unit for each in question.units]
    rows = await run_in_threadpool(_rows, index, units)
    maxima = index.columns.numbers["maximum"][rows].tolist()
    job = question.job(dict(zip(units, maxima, strict=True)))
    await unless_gone(request, host(request).ready(source))

    async def lines() -> AsyncIterator[bytes]:
        try:
            async with aclosing(host(request).ask(source, job, limits.CONTINUE_S)) as parts:
                async for part in parts:
                    yield _line(part)
            yield _line({"end": "length"})
        except TimeoutError:
            yield _line({"end": "time"})
        except (JobRefused, ModelFailed) as error:
            yield _line({"error": str(error), "again": isinstance(error, ModelFailed)})

    return StreamingResponse(lines(), media_type=_LINES)


def _rows(index: Reader, units: Sequence[str]) -> list[int]:
    """The rows of units. Raises `HTTPException` for one that the index lacks."""
    rows = [index.columns.row_of(unit) for unit in units]
    if None in rows:
        raise HTTPException(422, f"the index has no unit {units[rows.index(None)]!r}: name one of its own")
    return [row for row in rows if row is not None]


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"
