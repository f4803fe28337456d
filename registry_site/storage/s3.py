"""Blobs in a bucket of S3 or one of its likes, through django-storages."""

import base64
from typing import IO, Any, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.utils.http import content_disposition_header
from storages.backends.s3 import S3Storage

from registry_site.errors import NotFound, Unavailable
from registry_site.storage.blobs import LOST, Blob


class S3Blobs(S3Storage):  # type: ignore[misc]  # django-storages ships no types
    """A bucket of S3 or one of its likes; the store itself refuses a second write and bytes that were damaged.

    With `redirect_clients`, they fetch the bytes from the bucket by signed URL instead of through this server.
    """

    def get_default_settings(self) -> dict[str, Any]:
        timeouts = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 2}, signature_version="s3v4")
        return {**super().get_default_settings(), "client_config": timeouts, "redirect_clients": False}

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    def _address(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": self._normalize_name(name)}

    def create(self, name: str, content: IO[bytes], blob: Blob) -> None:
        checksum = base64.b64encode(bytes.fromhex(blob.sha256)).decode()
        try:
            self._client.put_object(
                **self._address(name),
                Body=content,
                ContentLength=blob.size,
                ContentType="application/octet-stream",
                ChecksumSHA256=checksum,
                IfNoneMatch="*",
            )
        except ClientError as error:
            if _code(error) != "PreconditionFailed":  # that one means that the same bytes are there already
                raise _unavailable(error) from error
        except BotoCoreError as error:
            raise _unavailable(error) from error

    def read(self, name: str, start: int, length: int | None) -> IO[bytes]:
        end = "" if length is None else str(start + length - 1)
        part = {"Range": f"bytes={start}-{end}"} if start or length is not None else {}  # of nothing there is no part
        try:
            answer = self._client.get_object(**self._address(name), **part)
        except ClientError as error:
            if _code(error) in ("NoSuchKey", "404"):
                raise NotFound(LOST) from error
            raise _unavailable(error) from error
        except BotoCoreError as error:
            raise _unavailable(error) from error
        return cast(IO[bytes], answer["Body"])

    def signed_url(self, name: str, filename: str) -> str | None:
        if not self.redirect_clients:
            return None
        disposition = content_disposition_header(as_attachment=True, filename=filename)
        return cast(str, self.url(name, parameters={"ResponseContentDisposition": disposition}, expire=300))

    def local_path(self, name: str) -> str | None:
        return None


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"The registry's storage does not answer: {type(error).__name__}.")
