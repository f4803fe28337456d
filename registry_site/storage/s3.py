"""Blobs in a bucket of S3 or a compatible service, through django-storages."""

import base64
from typing import IO, Any, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.utils.http import content_disposition_header
from storages.backends.s3 import S3Storage

from registry_site.errors import NotFound, Unavailable
from registry_site.storage.blobs import LOST, Blob

SIGNED_URL_SECONDS = 300


class S3Blobs(S3Storage):  # type: ignore[misc]  # django-storages ships no types
    """A bucket whose service itself refuses a second write and damaged bytes.

    With `redirect_clients`, clients fetch the bytes from the bucket by signed URL instead of through this server.
    """

    def get_default_settings(self) -> dict[str, Any]:
        timeouts = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 2}, signature_version="s3v4")
        return {**super().get_default_settings(), "client_config": timeouts, "redirect_clients": False}

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": self._normalize_name(name)}

    def create(self, name: str, content: IO[bytes], blob: Blob) -> None:
        try:
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
        except BotoCoreError as error:
            raise unavailable(error) from error

    def read(self, name: str, start: int, length: int | None) -> IO[bytes]:
        end = "" if length is None else str(start + length - 1)
        # Without a range when all is read: an empty object has no byte 0, and S3 answers 416 to bytes=0-.
        options = {"Range": f"bytes={start}-{end}"} if start or length is not None else {}
        try:
            response = self._client.get_object(**self._object(name), **options)
        except ClientError as error:
            if error_code(error) in ("NoSuchKey", "404"):
                raise NotFound(LOST) from error
            raise unavailable(error) from error
        except BotoCoreError as error:
            raise unavailable(error) from error
        return cast(IO[bytes], response["Body"])

    def signed_url(self, name: str, filename: str) -> str | None:
        if not self.redirect_clients:
            return None
        disposition = content_disposition_header(as_attachment=True, filename=filename)
        parameters = {"ResponseContentDisposition": disposition}
        return cast(str, self.url(name, parameters=parameters, expire=SIGNED_URL_SECONDS))

    def local_path(self, name: str) -> str | None:
        return None


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"The registry's storage does not answer: {type(error).__name__}.")
