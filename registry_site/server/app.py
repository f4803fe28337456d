"""The gunicorn application: threads in a few processes, and HTTP/2 where there is TLS."""

import ctypes
import gc
import math
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from django.conf import settings
from django.core.files.storage import storages
from django.urls import get_resolver
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from registry_site import change_feed
from registry_site.errors import RegistryError
from registry_site.logs import JsonFormatter
from registry_site.outbox_thread import OutboxThread
from registry_site.server import metrics
from registry_site.server.quick_answers import MAX_OPEN_FILES, QuickAnswers
from registry_site.server.worker import STOP_SIGNALS
from registry_site.signals import server_loading
from registry_site.write_buffers import FlushThread

M_MMAP_THRESHOLD = -3  # malloc.h
CONNECTIONS = 1000  # of each worker
FILES_OF_A_THREAD = 8  # its connections to the database and other servers, temporary files, a file that it sends
OTHER_FILES = 100 + MAX_OPEN_FILES


def configuration() -> dict[str, Any]:
    """Return gunicorn's settings by their names."""
    config: dict[str, Any] = {
        "bind": f"{settings.BIND_HOST}:{settings.BIND_PORT}",
        "workers": settings.WORKERS,
        "worker_class": "registry_site.server.worker.Worker",
        "threads": settings.THREADS,
        "worker_connections": usable_connections(),
        "proc_name": "entrepot",
        # A kept-alive connection waits in the poller: it costs no thread while it is idle.
        "keepalive": settings.KEEP_ALIVE,
        "timeout": 60,
        "graceful_timeout": 30,
        # Long enough for any token; a longer header is refused before the application sees it.
        "limit_request_field_size": 16_380,
        "limit_request_line": 8190,
        # Trusted proxies are a matter of REGISTRY_TRUSTED_PROXIES; gunicorn trusts none.
        "forwarded_allow_ips": "",
        "control_socket_disable": True,
        # At its level for debugging, gunicorn logs each path, also with the token of a link.
        "loglevel": "info" if settings.LOG_LEVEL == "DEBUG" else settings.LOG_LEVEL.lower(),
        "logger_class": ServerLog,
        # The application is loaded once and forked: a quick start, and memory that the workers share.
        "preload_app": True,
        "pre_fork": prepare_fork,
        "post_worker_init": start_threads,
        "worker_exit": stop_threads,
    }
    if settings.TLS_CERT:
        config |= {"certfile": str(settings.TLS_CERT), "keyfile": str(settings.TLS_KEY), "http_protocols": "h2,h1"}
    return config


def usable_connections() -> int:
    """Raise the soft limit of open files as far as needed, and return how many connections a worker may have then."""
    others = settings.THREADS * FILES_OF_A_THREAD + OTHER_FILES
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (math.inf if limit == resource.RLIM_INFINITY else limit for limit in limits)
    needed = min(CONNECTIONS + others, hard)
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(needed), limits[1]))
    return int(max(needed - others, 2 * settings.THREADS))


def prepare_fork(arbiter: Any, worker: Any) -> None:
    """Choose the row of shared counters for a worker, and let signals to stop wait until it has handlers for them.

    gunicorn calls this before each fork. A signal that came in between would be lost, and the stop take 30 seconds.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    worker.row = metrics.shared_counters().claim_row({other.row for other in arbiter.WORKERS.values()})


def start_threads(worker: Any) -> None:
    """Start the threads of a worker beside those for requests, and its feed; gunicorn calls this in the worker."""
    worker.change_feed = change_feed.start()
    worker.quick_answers = QuickAnswers(worker, worker.change_feed)
    worker.own_threads = [FlushThread(), OutboxThread()]
    for thread in worker.own_threads:
        thread.start()


def stop_threads(arbiter: Any, worker: Any) -> None:
    """Store the last values in the memory of a worker, and let its mail go out; gunicorn calls this at its end."""
    for thread in getattr(worker, "own_threads", ()):  # there are none if its start has failed before
        thread.stop()


class ServerLog(Logger):  # type: ignore[misc]
    """gunicorn's log, in lines of JSON where the registry's are."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        if settings.LOG_FORMAT == "json":
            for handler in self.error_log.handlers:
                handler.setFormatter(JsonFormatter())

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log a response that a failure of the storage has cut off in one line: the cause has a line of its own."""
        error = sys.exc_info()[1]
        if isinstance(error, RegistryError):
            self.error("A response was cut off: %s", error.message)
        else:
            super().exception(msg, *args, **kwargs)


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn in the process that set up the registry, so that nothing is imported twice."""

    def load_config(self) -> None:
        for name, value in configuration().items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        from registry_site.wsgi import application

        os.register_at_fork(after_in_parent=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, STOP_SIGNALS))
        metrics.create_shared_counters(2 * settings.WORKERS)  # old workers still run while new ones replace them
        # A password hash takes 19 MiB for a moment. glibc would keep that for each thread; blocks over the threshold
        # are mapped, and given back to the system.
        with suppress(AttributeError):  # other C libraries have no mallopt
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1024 * 1024)
        for store in ("blobs", "mirror"):
            getattr(storages[store], "connection", None)  # that of S3 reads much, which the workers share
        _ = get_resolver().url_patterns  # imports the views now, before the fork, and not on the first request
        server_loading.send(sender=None)
        gc.freeze()  # the collector would write to, and so copy, the memory that the workers share
        return application
