"""A stand-in for the Hugging Face Hub's API, with the endpoints that creating a repository and committing files use.

Requests and answers have the form that huggingface_hub 2.4 sends and reads (`HfApi.create_repo`, `HfApi.create_commit`). All files are
committed as regular ones, so that no storage of large files is needed.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_" + "a" * 34


@dataclass
class Hub:
    """What was sent to the hub."""

    url: str = ""
    visibility: dict[str, str] = field(default_factory=dict)
    """Of each repository."""
    sdks: dict[str, str] = field(default_factory=dict)
    """Of each Space."""
    files: dict[str, bytes] = field(default_factory=dict)
    """By `OWNER/NAME/PATH`."""
    commits: list[str] = field(default_factory=list)
    """Messages."""
    asked: list[str] = field(default_factory=list)
    """Paths of requests."""


@contextmanager
def running() -> Iterator[Hub]:
    """A hub on a free port of this machine."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            hub.asked.append(self.path)
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                return self._answer(401, {"error": "Invalid credentials in Authorization header"})
            return self._answer(*self._post(self.path.partition("?")[0], body))

        def _post(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
            if path == "/api/repos/create":
                asked = json.loads(body)
                repo = f"{asked['organization']}/{asked['name']}"
                if asked["organization"] != "me":
                    return 403, {"error": "You don't have the rights to create a dataset under this namespace"}
                url = f"{hub.url}/{asked['type']}s/{repo}"
                if repo in hub.visibility:
                    return 409, {"error": "You already created this dataset repo", "url": url}
                hub.visibility[repo] = asked["visibility"]
                if asked["type"] == "space":
                    hub.sdks[repo] = asked["sdk"]
                return 200, {"url": url, "name": repo}
            if path == "/api/validate-yaml":
                return 200, {"errors": [], "warnings": []}
            repo = "/".join(path.split("/")[3:5])
            if path.endswith("/preupload/main"):
                files = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in json.loads(body)["files"]
                ]
                return 200, {"files": files}
            if path.endswith("/commit/main"):
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "header":
                        hub.commits.append(line["value"]["summary"])
                    else:
                        hub.files[f"{repo}/{line['value']['path']}"] = base64.b64decode(line["value"]["content"])
                return 200, {
                    "commitUrl": f"{hub.url}/{path.split('/')[2]}/{repo}/commit/abc",
                    "commitOid": "abc",
                    "success": True,
                }
            return 404, {"error": path}

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
