"""Serves the API on the socket that supervisor holds (descriptor 0), or on 127.0.0.1:PORT.

The socket outlives the process, so a new connection waits for the next one. What is already
accepted is answered: on SIGTERM the process first stops accepting and goes on serving for a
moment, asking clients to close, and only then shuts down.
"""

import asyncio
import logging
import os
import socket

import uvicorn

from app.core import logs, metrics

DRAIN_SECONDS = 1.0
SHUTDOWN_SECONDS = 10

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    async def shutdown(self, sockets=None):
        from app import main

        main.draining = True
        for server in self.servers:
            for listener in server.sockets:
                asyncio.get_running_loop().remove_reader(listener.fileno())
        await asyncio.sleep(DRAIN_SECONDS)
        await super().shutdown(sockets)
        metrics.forget_process(os.getpid())


def listening_socket() -> socket.socket:
    port = os.environ.get("PORT")
    if port:
        return socket.create_server(("127.0.0.1", int(port)), backlog=128)
    try:
        held = socket.socket(fileno=os.dup(0))
        if held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return held
    except OSError:
        pass
    raise SystemExit("descriptor 0 is no listening socket: start under supervisor's fcgi-program, or set PORT")


def main() -> None:
    logs.configure()
    listener = listening_socket()
    try:
        from app.main import app
    except Exception:
        log.critical("the API does not start", exc_info=True)
        raise SystemExit(1) from None
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=SHUTDOWN_SECONDS, lifespan="on"
    )
    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
