"""A provider that answers every question after the same time, and keeps the times at which it was asked.

    python tests/benchmarks/fixed_server.py --latency 0.2

It speaks the Messages and Responses protocols as far as a judge needs, from one process and with as little work a request as
Python allows, so that what a benchmark measures is its client. GET /asked returns the moments of all questions so far as JSON,
in seconds of the monotonic clock that all processes of a host share; GET /count how many there were.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
import zlib

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
GRADE = json.dumps({"reason": "the marked word fits", "grade": 2})
USAGE = {"input_tokens": 400, "output_tokens": 20}


def message(text: str) -> bytes:
    """A Messages body that says `text`."""
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "fixed", "stop_reason": "end_turn"}
    return _response(body | {"content": [{"type": "text", "text": text}], "usage": USAGE})


def response(text: str) -> bytes:
    """A Responses body that says `text`."""
    part = {"type": "output_text", "text": text, "annotations": []}
    said = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
    body = {"id": "resp_1", "object": "response", "created_at": 0, "model": "fixed", "status": "completed"}
    return _response(body | {"output": [said], "usage": USAGE})


def _response(body: object) -> bytes:
    content = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(content),
        content,
    )


BODIES = {b"/v1/messages": message, b"/v1/responses": response}
GRADES = {path: body(GRADE) for path, body in BODIES.items()}
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


class Asked:
    """When each question came, for explanations and for grades."""

    def __init__(self) -> None:
        self.grades: list[float] = []
        self.explanations: list[float] = []

    def report(self, path: bytes) -> bytes:
        if path == b"/count":
            return _response({"grades": len(self.grades), "explanations": len(self.explanations)})
        return _response(vars(self)) if path == b"/asked" else NOT_FOUND


class Connection(asyncio.Protocol):
    """One connection, whose requests come one after another."""

    def __init__(self, latency_s: float, asked: Asked) -> None:
        self._latency_s, self._asked = latency_s, asked
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._later = asyncio.get_running_loop().call_later

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._buffer, 0, head)
        end = head + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < end:
            return
        request, self._buffer = self._buffer[:end], self._buffer[end:]
        path = request.split(b" ", 2)[1]
        if not request.startswith(b"POST"):
            self._transport.write(self._asked.report(path))
            return
        if path not in BODIES:
            self._transport.write(NOT_FOUND)
        elif b'"grade"' in request:
            self._asked.grades.append(time.monotonic())
            self._later(self._latency_s, self._answer, GRADES[path])
        else:
            self._asked.explanations.append(time.monotonic())
            said = f"words of kind {zlib.crc32(request[head:])}"  # no two alike, or questions for grades would be
            self._later(self._latency_s, self._answer, BODIES[path](json.dumps({"explanation": said})))

    def _answer(self, reply: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(reply)


async def serve(latency_s: float, port: int) -> None:
    """Answer until cancelled; the address is printed first."""
    asked = Asked()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(latency_s, asked), "127.0.0.1", port, backlog=1024
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds to every answer")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.latency, arguments.port))


if __name__ == "__main__":
    main()
