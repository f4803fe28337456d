"""gunicorn, as this registry runs it: threads in a few processes, and HTTP/2 where there is TLS."""

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.urls import get_resolver
from gunicorn.app.base import BaseApplication

from registry_site.server import metrics

M_MMAP_THRESHOLD = -3  # malloc.h


def configuration() -> dict[str, Any]:
    """gunicorn's settings, by its own names."""
    config: dict[str, Any] = {
        "bind": f"{settings.BIND_HOST}:{settings.BIND_PORT}",
        "workers": settings.WORKERS,
        "worker_class": "registry_site.server.worker.Worker",
        "threads": settings.THREADS,
        "proc_name": "entrepot",
        # A kept-alive HTTP/1.1 connection costs nothing while it is idle; an HTTP/2 one keeps its thread.
        "keepalive": 5,
        "timeout": 60,
        "graceful_timeout": 30,
        # Long enough for any token; a longer header is refused before the application sees it.
        "limit_request_field_size": 16_380,
        "limit_request_line": 8190,
        # Nobody in front of this server is trusted to say who or how the client is.
        "forwarded_allow_ips": "",
        "control_socket_disable": True,
        # The application is loaded once and forked: a quick start, and memory that the workers share.
        "preload_app": True,
        "pre_fork": _count_apart,
    }
    if settings.TLS_CERT:
        config |= {"certfile": str(settings.TLS_CERT), "keyfile": str(settings.TLS_KEY), "http_protocols": "h2,h1"}
    return config


def _return_large_blocks() -> None:
    """Give what a password hash needs for a moment back to the system: glibc would keep it for each thread."""
    with suppress(AttributeError):  # other C libraries have no such option
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1024 * 1024)


def _count_apart(arbiter: Any, worker: Any) -> None:
    """gunicorn's hook before each fork: the worker writes its figures beside those of the others."""
    worker.row = metrics.shared_counters().take({other.row for other in arbiter.WORKERS.values()})


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn in the process that set the registry up: nothing is imported twice."""

    def load_config(self) -> None:
        for name, value in configuration().items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        from registry_site.wsgi import application

        metrics.create_shared_counters(2 * settings.WORKERS)  # twice: while they are replaced, the old ones finish
        _return_large_blocks()
        _ = get_resolver().url_patterns  # views are imported now, before the fork, and not on the first request
        gc.freeze()  # the collector would touch, and so copy, what the workers share
        return application
