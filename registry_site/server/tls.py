"""TLS as the worker needs it: handshakes that wait in the poller, with the certificate that is in its file now."""

import logging
import ssl
from pathlib import Path
from typing import Any

from gunicorn.sock import ssl_context

from registry_site.logs import log_event


class CertificateFiles:
    """The context of the certificate and its key. A renewed one counts for the next connection."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        self.context: ssl.SSLContext | None = None
        self.is_failing = False
        self.version: tuple[tuple[int, int], ...] = ()

    def current(self) -> ssl.SSLContext:
        """Return the context; to read the files for each connection takes as long as a handshake.

        Raises `OSError` if they cannot be read or do not fit, and have never done.
        """
        try:
            files = [Path(name).stat() for name in (self.cfg.certfile, self.cfg.keyfile)]
            version = tuple((file.st_mtime_ns, file.st_ino) for file in files)
            if self.context is None or version != self.version:
                self.context, self.version = ssl_context(self.cfg), version
            self.is_failing = False
            return self.context
        except OSError as error:  # somebody may just be replacing one after the other
            if self.context is None:
                raise
            self.log_failure(str(error))
            return self.context

    def log_failure(self, cause: str) -> None:
        """Log the first of several failures in a row."""
        if not self.is_failing:
            self.is_failing = True
            log_event("certificate_not_read", logging.WARNING, cause=cause)
