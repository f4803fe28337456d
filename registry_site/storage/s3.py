"""Blobs in a bucket of S3 or a compatible service, through django-storages.

Each request has a deadline, and takes one of the slots of all requests that wait for other servers.
"""

import base64
import hashlib
import io
import logging
import math
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from typing import IO, Any, cast
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSHTTPConnection, AWSHTTPConnectionPool, AWSHTTPSConnection, AWSHTTPSConnectionPool
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.utils.http import content_disposition_header
from storages.backends.s3 import S3Storage
from urllib3.exceptions import HTTPError

from registry_site.errors import Lost, RegistryError, Unavailable
from registry_site.http_client import LOOPBACK_NAMES, LimitedConnection, Limits, RequestFailed, TrustingConnection
from registry_site.storage.blobs import CHUNK_SIZE, DAMAGED, LOST, Blob, logged_loss
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


@lru_cache(maxsize=2)
def shared_session(key: str | None, secret: str | None, token: str | None) -> boto3.Session:
    """Return one session for both buckets and all workers: it has read the description of S3, many megabytes."""
    return boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token)


def client_config(endpoint: str) -> Config:
    return Config(
        connect_timeout=5,
        read_timeout=11,
        retries={"total_max_attempts": 2},
        signature_version="s3v4",
        max_pool_connections=settings.THREADS,
        response_checksum_validation="when_required",  # `Body` compares the bytes with their name
        # This machine is reached without a proxy, as `http_client.pools_for` has it.
        proxies={} if urlsplit(endpoint).hostname in LOOPBACK_NAMES else None,
    )


class S3Blobs(S3Storage):  # type: ignore[misc]  # django-storages ships no types
    """A bucket whose service itself refuses a second write and damaged bytes.

    With `redirect_clients`, clients fetch the bytes from the bucket by signed URL instead of through this server.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(client_config=client_config(options.get("endpoint_url") or ""), **options)
        self.process = 0
        self.resource: Any = None

    def get_default_settings(self) -> dict[str, Any]:
        return {**super().get_default_settings(), "redirect_clients": False}

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

    def _create_session(self) -> boto3.Session:
        return shared_session(self.access_key, self.secret_key, self.security_token)

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
        with request_to(self, "put", name, SECONDS + blob.size / MIN_BYTES_PER_SECOND):
            client.put_object(
                **self.object(name),
                Body=content,
                ContentLength=blob.size,
                ContentType="application/octet-stream",
                ChecksumSHA256=base64.b64encode(bytes.fromhex(blob.sha256)).decode(),
                **condition,
            )

    def delete(self, name: str) -> None:
        with suppress(Lost), request_to(self, "delete", name, SECONDS):  # some services know no object, S3 takes any
            self.client.delete_object(**self.object(name))

    def names(self, directory: str) -> Iterator[tuple[str, int]]:
        root = self._normalize_name("").rstrip("/")
        start = f"{root}/" if root else ""
        token: dict[str, str] = {}
        while True:
            with request_to(self, "list", directory, SECONDS):
                page = self.client.list_objects_v2(Bucket=self.bucket_name, Prefix=f"{start}{directory}/", **token)
            for entry in page.get("Contents", []):
                yield entry["Key"].removeprefix(start), entry["Size"]
            if not page.get("NextContinuationToken"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def require_present(self, name: str, blob: Blob) -> None:
        # No HEAD: its answer has no words, so a missing bucket would look like a missing object.
        self.read(name, blob, 0, min(blob.size, 1)).close()

    def read(self, name: str, blob: Blob, start: int, length: int | None) -> IO[bytes]:
        size = blob.size - start if length is None else length
        # Without a range when all is read: an empty object has no byte 0, and S3 answers 416 to bytes=0-.
        options = {"Range": f"bytes={start}-{start + size - 1}"} if size != blob.size else {}
        client = self.client  # made before the slot is taken: the first takes a second
        limits = Limits(SECONDS)
        try:
            with translated_failure(self, "get", name), limiter.slot(STORAGE), limits.applied():
                answer = client.get_object(**self.object(name), **options)
                if total_size(answer) not in (None, blob.size):
                    answer["Body"].close()
                    raise Lost(DAMAGED)
                # The first part, too: a failure after it can only cut the response off.
                return cast(IO[bytes], Body(self, name, blob, answer["Body"], size, limits))
        except RegistryError:
            limits.close()
            raise

    def signed_url(self, name: str, filename: str) -> str | None:
        if not self.redirect_clients:
            return None
        disposition = content_disposition_header(as_attachment=True, filename=filename)
        parameters = {"ResponseContentDisposition": disposition}
        return cast(str, self.url(name, parameters=parameters, expire=SIGNED_URL_SECONDS))

    def local_path(self, name: str, blob: Blob) -> str | None:
        return None


def total_size(answer: dict[str, Any]) -> int | None:
    """Return the size of an object, of which the answer may have a part; None if it does not say."""
    if "ContentRange" in answer:
        return int(str(answer["ContentRange"]).rpartition("/")[2])
    return cast("int | None", answer.get("ContentLength"))


class Body(io.RawIOBase):
    """The bytes of an object, each part read within `SECONDS`; between two parts a slow client may take its time.

    Raises `Lost` for fewer bytes than `size`, and instead of the last part if all of the blob have another hash.
    """

    def __init__(self, store: S3Blobs, name: str, blob: Blob, body: Any, size: int, limits: Limits) -> None:
        self.store = store
        self.name = name
        self.blob = blob
        self.body = body
        self.missing = size
        self.limits = limits
        self.digest = hashlib.sha256() if size == blob.size else None
        self.first = self.next_part(CHUNK_SIZE)
        limits.extend(math.inf)

    def next_part(self, length: int) -> bytes:
        part = cast(bytes, self.body.read(length)) if self.missing else b""
        self.limits.remaining_seconds()  # a body without a length ends where its connection was shut down
        if self.missing and not part:
            raise Lost(DAMAGED)
        self.missing -= len(part)
        self.check_hash(part)
        return part

    def check_hash(self, part: bytes) -> None:
        if self.digest is not None:
            self.digest.update(part)
            if not self.missing and self.digest.hexdigest() != self.blob.sha256:
                raise Lost(DAMAGED)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self.first[: len(buffer)] or self.later_part(len(buffer))
        self.first = self.first[len(part) :]
        buffer[: len(part)] = part
        return len(part)

    def later_part(self, length: int) -> bytes:
        with (
            logged_loss(self.blob.sha256, self.blob.store),
            translated_failure(self.store, "read", self.name),
            limiter.slot(STORAGE),
        ):
            self.limits.extend(SECONDS)
            part = self.next_part(length)
            self.limits.extend(math.inf)
            return part

    def close(self) -> None:
        self.limits.close()
        self.body.close()
        super().close()


class AlreadyThere(Exception):
    """The store has an object of this name."""


FAILURES = (ClientError, BotoCoreError, HTTPError, RequestFailed, OSError)


@contextmanager
def request_to(store: S3Blobs, step: str, name: str, seconds: float) -> Iterator[None]:
    """Take a slot for a request, and end the request after so many seconds; raises as `translated_failure`."""
    with (
        translated_failure(store, step, name),
        limiter.slot(STORAGE),
        closing(Limits(seconds)) as limits,
        limits.applied(),
    ):
        yield
        limits.remaining_seconds()  # a head that was cut off by the watchdog looks complete to botocore


@contextmanager
def translated_failure(store: S3Blobs, step: str, name: str) -> Iterator[None]:
    """Turn failures of a request into `Unavailable`, with a line of the log; raises as `translated_answer`, too."""
    host = urlsplit(store.endpoint_url or "//s3.amazonaws.com").netloc
    fields = {"bucket": store.bucket_name, "sha256": name.rpartition("/")[2]}
    try:
        with (
            logged_failure("storage", step, host, FAILURES, logging.ERROR, **fields) as line,
            translated_answer(line),
        ):
            yield
    except FAILURES as error:
        failure = f"refuses us ({line['code']})" if "code" in line else "does not answer"
        raise Unavailable(f"The registry's storage {failure}; try again, and tell its operator.") from error


@contextmanager
def translated_answer(line: dict[str, Any]) -> Iterator[None]:
    """Turn two kinds of errors of S3 into `AlreadyThere` and `Lost`; any other adds its status and code to the line.

    A 404 without a code of S3 is not about an object: a proxy answers so while the service behind it is away.
    """
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        line |= {"status": error.response.get("ResponseMetadata", {}).get("HTTPStatusCode"), "code": code}
        if code == "PreconditionFailed":
            raise AlreadyThere from error
        if code == "NoSuchKey":
            raise Lost(LOST) from error
        if code == "InvalidRange":  # the object has become shorter
            raise Lost(DAMAGED) from error
        raise
