"""Blobs in a bucket of S3 or a compatible service, through django-storages.

Each request has a deadline, and takes one of the slots of all requests that wait for other servers.
"""

import base64
import io
import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import IO, Any, cast

from botocore.awsrequest import AWSHTTPConnection, AWSHTTPConnectionPool, AWSHTTPSConnection, AWSHTTPSConnectionPool
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.utils.http import content_disposition_header
from storages.backends.s3 import S3Storage

from registry_site.errors import NotFound, Unavailable
from registry_site.http_client import LimitedConnection, Limits, RequestFailed
from registry_site.storage.blobs import LOST, Blob
from registry_site.upstream_limiter import Kind, limiter

SIGNED_URL_SECONDS = 300
SECONDS = 30  # for a request without its body, and for each part of a body that is read
MIN_BYTES_PER_SECOND = 100_000  # of a body that is sent

STORAGE = Kind(
    quarters=3,
    refusal="The registry's storage is slow, and enough requests wait for it; try again.",
    error=Unavailable,
)


class _PlainConnection(LimitedConnection, AWSHTTPConnection):  # type: ignore[misc]  # botocore is not strict
    pass


class _TLSConnection(LimitedConnection, AWSHTTPSConnection):  # type: ignore[misc]  # botocore is not strict
    pass


class _PlainPool(AWSHTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TLSPool(AWSHTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class S3Blobs(S3Storage):  # type: ignore[misc]  # django-storages ships no types
    """A bucket whose service itself refuses a second write and damaged bytes.

    With `redirect_clients`, clients fetch the bytes from the bucket by signed URL instead of through this server.
    """

    def get_default_settings(self) -> dict[str, Any]:
        timeouts = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 2}, signature_version="s3v4")
        return {**super().get_default_settings(), "client_config": timeouts, "redirect_clients": False}

    @property
    def connection(self) -> Any:
        connection = super().connection
        # boto3 has no setting for this. It opens its connections later, by these classes.
        session = connection.meta.client._endpoint.http_session
        session._pool_classes_by_scheme.update(http=_PlainPool, https=_TLSPool)
        return connection

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": self._normalize_name(name)}

    def create(self, name: str, content: IO[bytes], blob: Blob) -> None:
        try:
            with _limited(SECONDS + blob.size / MIN_BYTES_PER_SECOND):
                self._client.put_object(
                    **self._object(name),
                    Body=content,
                    ContentLength=blob.size,
                    ContentType="application/octet-stream",
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(blob.sha256)).decode(),
                    IfNoneMatch="*",
                )
        except ClientError as error:
            if error_code(error) != "PreconditionFailed":  # which means that the same bytes are there already
                raise unavailable(error) from error
        except (BotoCoreError, RequestFailed) as error:
            raise unavailable(error) from error

    def delete(self, name: str) -> None:
        with _limited(SECONDS):
            super().delete(name)

    def read(self, name: str, start: int, length: int | None) -> IO[bytes]:
        end = "" if length is None else str(start + length - 1)
        # Without a range when all is read: an empty object has no byte 0, and S3 answers 416 to bytes=0-.
        options = {"Range": f"bytes={start}-{end}"} if start or length is not None else {}
        limits = Limits(SECONDS)
        try:
            with limiter.slot(STORAGE), limits.applied():
                response = self._client.get_object(**self._object(name), **options)
                limits.remaining_seconds()
        except (ClientError, BotoCoreError, RequestFailed) as error:
            limits.close()
            if isinstance(error, ClientError) and error_code(error) in ("NoSuchKey", "404"):
                raise NotFound(LOST) from error
            raise unavailable(error) from error
        return cast(IO[bytes], _Body(response["Body"], limits))

    def signed_url(self, name: str, filename: str) -> str | None:
        if not self.redirect_clients:
            return None
        disposition = content_disposition_header(as_attachment=True, filename=filename)
        parameters = {"ResponseContentDisposition": disposition}
        return cast(str, self.url(name, parameters=parameters, expire=SIGNED_URL_SECONDS))

    def local_path(self, name: str) -> str | None:
        return None


class _Body(io.RawIOBase):
    """The bytes of an object, each part read within `SECONDS`; between two parts a slow client may take its time."""

    def __init__(self, body: Any, limits: Limits) -> None:
        self.body = body
        self.limits = limits
        limits.extend(math.inf)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with limiter.slot(STORAGE):
            self.limits.extend(SECONDS)
            size = self.body.readinto(buffer)
            self.limits.remaining_seconds()  # a body without a length ends where its connection was shut down
            self.limits.extend(math.inf)
        return cast(int, size)

    def close(self) -> None:
        self.limits.close()
        self.body.close()
        super().close()


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Take a slot for a request, and end the request after so many seconds; raises `RequestFailed` then."""
    with limiter.slot(STORAGE), closing(Limits(seconds)) as limits, limits.applied():
        yield
        limits.remaining_seconds()  # a head that was cut off by the watchdog looks complete to botocore


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"The registry's storage does not answer: {type(error).__name__}.")
