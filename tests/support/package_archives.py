"""Archives of packages, and forms that carry one."""

import gzip
from collections.abc import Mapping
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from tests.support import packing


def pack_tgz(files: Mapping[str, bytes | str]) -> bytes:
    return gzip.compress(packing.tar_of(files), mtime=0)


DEMO_TGZ = pack_tgz({"package/package.json": '{"name": "demo"}', "package/中文.txt": "你好"})


def encode_form(archive: bytes | None = None, **fields: Any) -> bytes:
    """A form with an archive, if there is one."""
    file = {} if archive is None else {"file": SimpleUploadedFile("demo.tgz", archive)}
    return encode_multipart(BOUNDARY, {**fields, **file})


def upload_archive(browser: Client, method: str, path: str, archive: bytes | None = None, **fields: Any) -> Any:
    return browser.generic(method, path, encode_form(archive, **fields), MULTIPART_CONTENT)
