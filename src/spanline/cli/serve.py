"""`spanline serve`: run pages, lineage API, ingest, metrics and the relay in one process."""

from __future__ import annotations

import contextlib
import errno
import gc
import ipaddress
import signal
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spanline.cli.options import journal_option, json_option, ledger_option, need_server_extra, settings_for, sqlite_file
from spanline.cli.text import bold, say, say_json
from spanline.errors import ConfigurationError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from spanline.settings import Settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; off loopback needs SPANLINE_TOKENS.")
@click.option("--port", type=click.IntRange(0, 65535), default=8008, show_default=True, help="Port to listen on; 0 takes any free one.")
@ledger_option
@journal_option
@json_option
def serve(host: str, port: int, ledger_url: str | None, journal_dir: Path | None, as_json: bool) -> None:
    """Serve run pages, the lineage API and ingest, and deliver the journals of this state folder."""
    need_server_extra("`spanline serve`")
    # Here a ledger is kept, not sent to another server.
    settings = replace(settings_for(ledger_url=ledger_url), server_url=None)
    loopback = is_loopback(host)
    if not loopback and not settings.tokens:
        raise click.UsageError(
            f"{host} is not loopback: everybody who reaches it could read every run. Set SPANLINE_TOKENS to one or more tokens "
            "(readers send one as `Authorization: Bearer …` or sign in on the page), or listen on 127.0.0.1."
        )
    listener = listen(host, port)
    try:
        _run(settings, journal_dir, listener, require_loopback=loopback and not settings.tokens, as_json=as_json)
    finally:
        listener.close()


def is_loopback(host: str) -> bool:
    """Whether a name or address leads to this machine only."""
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)  # noqa: S104  (an empty host is every address)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(address[4][0]).partition("%")[0]).is_loopback for address in found)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigurationError: The port is taken, or the address is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)[0]  # noqa: S104
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}: {error.strerror or error}") from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"port {port} on {host} is taken, perhaps by another `spanline serve`. "
                f"Choose another (--port {port + 1 if port < 65535 else 8009}), or --port 0 for any free one."
            ) from error
        if error.errno == errno.EACCES:
            raise ConfigurationError(f"port {port} on {host} needs privileges; choose one above 1023 with --port") from error
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def _run(settings: Settings, journal_dir: Path | None, listener: socket.socket, *, require_loopback: bool, as_json: bool) -> None:
    import uvicorn

    from spanline.cli.delivery import Delivery
    from spanline.ledger import Ledger
    from spanline.metrics.engine import Metrics
    from spanline.relay.measure import DeliveryHealth
    from spanline.server.app import build_app
    from spanline.server.patience import limited_protocol

    file = sqlite_file(settings.effective_ledger_url)
    if file is not None:
        make_folder(file.parent)
    address = listener.getsockname()
    name = f"[{address[0]}]" if ":" in address[0] else address[0]
    url = f"http://{name}:{address[1]}"
    ledger = Ledger.open(settings.effective_ledger_url)
    try:
        measures = Metrics()
        delivery = Delivery(settings, journal_dir, ledger=ledger, health=DeliveryHealth(measures))
        settings = replace(settings, base_url=settings.base_url or url)
        app = build_app(ledger, settings, api=True, require_loopback=require_loopback, measured=measures.evaluated)
        _mount_metrics(app, settings, require_loopback=require_loopback)

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets=sockets)
                if self.started and as_json:
                    say_json({
                        "url": url, "runs": f"{url}/runs", "lineage": f"{url}/api/v1/lineage",
                        "ledger": shown_url(settings.effective_ledger_url), "journals": str(delivery.folder),
                    })  # fmt: skip
                elif self.started:
                    say(f"runs        {bold(url + '/runs')}")
                    say(f"one run     {url}/r/<trace, run, request or response id>")
                    say(f"OpenLineage {url}/api/v1/lineage (POST)")
                    say(f"ledger      {shown_url(settings.effective_ledger_url)}")
                    say(f"journals    {delivery.folder}")
                    say("Ctrl-C ends it.")

        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=5, http=limited_protocol()
        )
        server = Server(config)
        # What is imported stays: without this a question now and then pays 50 ms for a collection that looks through all of it.
        gc.collect()
        gc.freeze()
        # uvicorn ends by raising the signal again; without a handler of ours SIGTERM would kill the process before delivery is closed.
        signal.signal(signal.SIGTERM, lambda number, frame: setattr(server, "should_exit", True))
        with delivery, contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    finally:
        ledger.close()


def _mount_metrics(app: Starlette, settings: Settings, *, require_loopback: bool) -> None:
    """`/metrics` of this process, under the same rule as the pages."""
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send

    from spanline.metrics.exposition import asgi_metrics
    from spanline.server.access import Access
    from spanline.server.problems import answering

    access, exposition = Access(settings, require_loopback=require_loopback), asgi_metrics()

    class Exposition(Response):
        """The answer is the exposition's own."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await exposition(scope, receive, send)

    async def metrics(request: Request) -> Response:
        access.check(request)
        return Exposition()

    app.router.routes.insert(0, Route("/metrics", answering("serve.metrics", metrics)))


def make_folder(folder: Path) -> None:
    """Make the state folder, for this user only.

    Raises:
        ConfigurationError: It cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make {folder}: {error.strerror}. Name another folder with SPANLINE_STATE or SPANLINE_HOME."
        ) from error


def shown_url(url: str) -> str:
    """A URL without its password."""
    head, separator, rest = url.partition("://")
    if not separator or "@" not in rest:
        return url
    credentials, _, host = rest.rpartition("@")
    return f"{head}://{credentials.partition(':')[0]}:***@{host}"
