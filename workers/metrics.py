"""Serves the service's metrics to Prometheus: `python -m workers.metrics --port 9464`."""

from __future__ import annotations

import sys
import threading

import click
from prometheus_client import CollectorRegistry, start_http_server

from autointerp.errors import AutointerpError
from autointerp.settings import Settings
from workers import logs
from workers.prometheus import ServiceCollector


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9464, show_default=True, help="Port to listen on; 0 takes a free one.")
def main(host: str, port: int) -> None:
    """Serve the metrics of the ledger and of Redis at /metrics."""
    try:
        settings = Settings.from_env()
        logs.configure(settings)
        _ = settings.broker_url
        registry = CollectorRegistry()
        registry.register(ServiceCollector(settings))
        server, _thread = start_http_server(port, host, registry)
    except (AutointerpError, OSError) as error:
        sys.exit(f"autointerp: {error}")
    click.echo(f"http://{host}:{server.server_port}/metrics")
    threading.Event().wait()


if __name__ == "__main__":
    main()
