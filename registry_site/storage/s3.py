"""Blobs in a bucket of S3 or a compatible service, through django-storages.

Each request has a deadline, and takes one of the slots of all requests that wait for other servers.
"""

import base64
import io
import logging
import math
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import IO, Any, cast
from urllib.parse import urlsplit

from botocore.awsrequest import AWSHTTPConnection, AWSHTTPConnectionPool, AWSHTTPSConnection, AWSHTTPSConnectionPool
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.utils.http import content_disposition_header
from storages.backends.s3 import S3Storage
from urllib3.exceptions import HTTPError

from registry_site.errors import Lost, RegistryError, Unavailable
from registry_site.http_client import LimitedConnection, Limits, RequestFailed, TrustingConnection
from registry_site.storage.blobs import CHUNK_SIZE, LOST, Blob
from registry_site.upstream_failures import logged_failure
from registry_site.upstream_limiter import Kind, limiter

SIGNED_URL_SECONDS = 300
# For a request with all its attempts, and for each part of a body: cargo gives up after 30 seconds of silence.
SECONDS = 24
MIN_BYTES_PER_SECOND = 100_000  # of a body that is sent

STORAGE = Kind(
    quarters=2,  # fewer than one address may take, so that its other requests go on
    refusal="The registry's storage is slow, and enough requests wait for it; try again.",
    error=Unavailable,
)

creation = threading.Lock()  # boto3 makes clients in one thread at a time only


class _PlainConnection(LimitedConnection, AWSHTTPConnection):  # type: ignore[misc]  # botocore is not strict
    pass


class _TLSConnection(TrustingConnection, AWSHTTPSConnection):  # type: ignore[misc]  # botocore is not strict
    pass


class _PlainPool(AWSHTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TLSPool(AWSHTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class S3Blobs(S3Storage):  # type: ignore[misc]  # django-storages ships no types
    """A bucket whose service itself refuses a second write and damaged bytes.

    With `redirect_clients`, clients fetch the bytes from the bucket by signed URL instead of through this server.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.process = 0
        self.session: Any = None
        self.resource: Any = None

    def get_default_settings(self) -> dict[str, Any]:
        config = Config(
            connect_timeout=5,
            read_timeout=11,
            retries={"total_max_attempts": 2},
            signature_version="s3v4",
            max_pool_connections=settings.THREADS,
        )
        return {**super().get_default_settings(), "client_config": config, "redirect_clients": False}

    @property
    def connection(self) -> Any:
        """Return the resource whose client all threads share; django-storages makes one for each thread."""
        with creation:
            if self.process != os.getpid():  # a forked worker must not share the connections of its parent
                self._connections.connection = None
                self.resource, self.process = super().connection, os.getpid()
                # boto3 has no setting for this. It opens its connections later, by these classes.
                session = self.resource.meta.client._endpoint.http_session
                session._pool_classes_by_scheme.update(http=_PlainPool, https=_TLSPool)
            return self.resource

    def _create_session(self) -> Any:
        """Return one session: it has read the description of S3, which forked workers share."""
        self.session = self.session or super()._create_session()
        return self.session

    @property
    def client(self) -> Any:
        return self.connection.meta.client

    def object(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": self._normalize_name(name)}

    def create(self, name: str, content: IO[bytes], blob: Blob) -> bool:
        try:
            self.put(name, content, blob, IfNoneMatch="*")
        except AlreadyThere:
            return False
        return True

    def replace(self, name: str, content: IO[bytes], blob: Blob) -> None:
        self.put(name, content, blob)

    def put(self, name: str, content: IO[bytes], blob: Blob, **condition: str) -> None:
        """Store an object. Raises `AlreadyThere` if there is one, against the condition, and `Unavailable`."""
        client = self.client
        with request_to(self, "put", SECONDS + blob.size / MIN_BYTES_PER_SECOND):
            client.put_object(
                **self.object(name),
                Body=content,
                ContentLength=blob.size,
                ContentType="application/octet-stream",
                ChecksumSHA256=base64.b64encode(bytes.fromhex(blob.sha256)).decode(),
                **condition,
            )

    def delete(self, name: str) -> None:
        with request_to(self, "delete", SECONDS):
            self.client.delete_object(**self.object(name))

    def require_present(self, name: str) -> None:
        with request_to(self, "head", SECONDS):
            self.client.head_object(**self.object(name))

    def read(self, name: str, start: int, length: int | None) -> IO[bytes]:
        end = "" if length is None else str(start + length - 1)
        # Without a range when all is read: an empty object has no byte 0, and S3 answers 416 to bytes=0-.
        options = {"Range": f"bytes={start}-{end}"} if start or length is not None else {}
        client = self.client  # made before the slot is taken: the first takes a second
        limits = Limits(SECONDS)
        try:
            with translated_failure(self, "get"), limiter.slot(STORAGE), limits.applied():
                body = client.get_object(**self.object(name), **options)["Body"]
                # The first part, too: a failure after it can only cut the response off.
                first = body.read(CHUNK_SIZE)
                limits.remaining_seconds()
        except RegistryError:
            limits.close()
            raise
        return cast(IO[bytes], Body(self, first, body, limits))

    def signed_url(self, name: str, filename: str) -> str | None:
        if not self.redirect_clients:
            return None
        disposition = content_disposition_header(as_attachment=True, filename=filename)
        parameters = {"ResponseContentDisposition": disposition}
        return cast(str, self.url(name, parameters=parameters, expire=SIGNED_URL_SECONDS))

    def local_path(self, name: str) -> str | None:
        return None


class Body(io.RawIOBase):
    """The bytes of an object, each part read within `SECONDS`; between two parts a slow client may take its time."""

    def __init__(self, store: S3Blobs, first: bytes, body: Any, limits: Limits) -> None:
        self.store = store
        self.first = first
        self.body = body
        self.limits = limits
        limits.extend(math.inf)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.first:
            part, self.first = self.first[: len(buffer)], self.first[len(buffer) :]
            buffer[: len(part)] = part
            return len(part)
        with translated_failure(self.store, "read"), limiter.slot(STORAGE):
            self.limits.extend(SECONDS)
            size = self.body.readinto(buffer)
            self.limits.remaining_seconds()  # a body without a length ends where its connection was shut down
            self.limits.extend(math.inf)
        return cast(int, size)

    def close(self) -> None:
        self.limits.close()
        self.body.close()
        super().close()


class AlreadyThere(Exception):
    """The store has an object of this name."""


FAILURES = (ClientError, BotoCoreError, HTTPError, RequestFailed, OSError)


@contextmanager
def request_to(store: S3Blobs, step: str, seconds: float) -> Iterator[None]:
    """Take a slot for a request, and end the request after so many seconds; raises as `translated_failure`."""
    with translated_failure(store, step), limiter.slot(STORAGE), closing(Limits(seconds)) as limits, limits.applied():
        yield
        limits.remaining_seconds()  # a head that was cut off by the watchdog looks complete to botocore


@contextmanager
def translated_failure(store: S3Blobs, step: str) -> Iterator[None]:
    """Turn failures of a request into `Unavailable`, with a line of the log; raises as `translated_answer`, too."""
    host = urlsplit(store.endpoint_url or "//s3.amazonaws.com").netloc
    try:
        with (
            logged_failure("storage", step, host, FAILURES, logging.ERROR, bucket=store.bucket_name) as line,
            translated_answer(line),
        ):
            yield
    except FAILURES as error:
        failure = f"refuses us ({line['code']})" if "code" in line else "does not answer"
        raise Unavailable(f"The registry's storage {failure}; try again, and tell its operator.") from error


@contextmanager
def translated_answer(line: dict[str, Any]) -> Iterator[None]:
    """Turn two errors of S3 into `AlreadyThere` and `Lost`; the code of any other goes into the line of the log."""
    try:
        yield
    except ClientError as error:
        line["code"] = str(error.response.get("Error", {}).get("Code", ""))
        if line["code"] == "PreconditionFailed":
            raise AlreadyThere from error
        if line["code"] in ("NoSuchKey", "404"):
            raise Lost(LOST) from error
        raise
