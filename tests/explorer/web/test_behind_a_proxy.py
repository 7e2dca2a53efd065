"""The explorer behind real web servers with TLS, configured as docs/explorer.md says."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from click.testing import CliRunner
from support import explorer_index
from support.explorer_server import served
from support.locations import ROOT
from support.raw_http import Client
from support.services.servers import free_port, write_certificates

from autointerp.cli.main import main
from autointerp.errors import UsageError
from autointerp.explorer.command import origin_of
from autointerp.explorer.web.library import Library
from autointerp.explorer.web.server import access_of

TOKEN, NAME = "a token of the test", "localhost"
NGINX = """\
daemon off; pid {folder}/nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{server}
}}
"""
CADDY = "{{\n  admin off\n  auto_https off\n  storage file_system {folder}\n}}\n{server}"


def documented(language: str) -> str:
    """The configuration in the documentation, for the name that the test's certificate has."""
    page = (ROOT / "docs" / "explorer.md").read_text(encoding="utf-8")
    [block] = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return block.replace("dict.example.org", NAME)


def nginx(folder: Path, port: int, behind: str) -> list[str]:
    """The command of an nginx at a port, before the explorer."""
    server = documented("nginx").replace("listen 443", f"listen 127.0.0.1:{port}").replace("127.0.0.1:8800", behind)
    server = re.sub(
        r"/etc/ssl/\S+\.(pem|key);", lambda found: f"{folder}/server.{'crt' if found[1] == 'pem' else 'key'};", server
    )
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, server=server))
    return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, port: int, behind: str) -> list[str]:
    """The command of a Caddy at a port, before the explorer."""
    own = f"https://{NAME}:{port} {{\n  bind 127.0.0.1\n  tls {folder}/server.crt {folder}/server.key"
    server = documented("caddy").replace(f"{NAME} {{", own).replace("127.0.0.1:8800", behind)
    (folder / "Caddyfile").write_text(CADDY.format(folder=folder, server=server))
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """A web server, once it accepts connections."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/bin", "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        for _ in range(600):
            if process.poll() is not None:
                pytest.fail((folder / "log").read_text())
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def visitor(port: int, folder: Path) -> Iterator[Client]:
    """A client that checks the certificate, as a browser does, and names the host without a port, as at port 443."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sock = ssl.create_default_context(cafile=str(folder / "ca.crt")).wrap_socket(plain, server_hostname=NAME)
    with closing(Client(f"https://{NAME}", connection)) as client:
        yield client


@pytest.mark.parametrize("program", [nginx, caddy])
def test_visitors_come_through_a_web_server_with_tls(
    tmp_path: Path, program: Callable[[Path, int, str], list[str]]
) -> None:
    if shutil.which(program.__name__, path="/usr/sbin:/usr/bin") is None:
        pytest.skip(f"{program.__name__} is not installed")
    write_certificates(tmp_path)
    index = explorer_index.make(tmp_path / "index", n_features=5, n_neurons=0)
    port, library, origin = free_port(), Library(tmp_path, index.path), f"https://{NAME}"
    with served(library, token=TOKEN, public=origin) as url:
        command = program(tmp_path, port, urlsplit(url).netloc)
        with running(command, port, tmp_path), visitor(port, tmp_path) as client:
            assert client.ask("GET", "/").status == 401
            answer = client.ask("GET", f"/u/feature-3?token={quote(TOKEN)}", {"X-Forwarded-Host": "evil.example"})
            assert (answer.status, answer.headers["location"]) == (303, "/u/feature-3")
            cookie = answer.headers["set-cookie"].partition(";")[0]
            own: dict[str, str | None] = {"Cookie": cookie}
            assert b"feature-3" in client.ask("GET", "/u/feature-3", own).body
            assert client.ask("GET", "/u/feature-3/", own).headers["location"] == f"{origin}/u/feature-3"
            assert client.ask("POST", "/api/rows", own | {"Origin": origin}, b"{}").status == 405
            assert client.ask("POST", "/api/rows", own | {"Origin": "https://evil.example"}, b"{}").status == 403
            elsewhere = client.ask("GET", "/u/feature-3", own | {"Host": "evil.example"})
            assert b"feature-3" not in elsewhere.body


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://dict.example.org", "https://dict.example.org"),
        ("https://Dict.Example.org/", "https://dict.example.org"),
        ("https://dict.example.org:443", "https://dict.example.org"),
        ("https://dict.example.org:8443/", "https://dict.example.org:8443"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_a_public_address_is_an_origin_as_browsers_write_it(written: str, origin: str) -> None:
    assert origin_of(written) == origin
    access = access_of("127.0.0.1", None, read_only=False, public=origin)
    assert access.token
    assert access.accepts_host(origin.partition("//")[2])


@pytest.mark.parametrize(
    "written", ["dict.example.org", "ftp://a.org", "https://a.org/dict", "https://u@a.org", "https://", "https://a.org?x", "https://a.org:x", "https://-"]
)  # fmt: skip
def test_an_address_that_is_no_origin_is_refused(written: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(written)):
        origin_of(written)
    done = CliRunner().invoke(main, ["explore", "--public-url", written, "--results", str(tmp_path)])
    assert done.exit_code == 2
    assert "without a path" in done.stderr
