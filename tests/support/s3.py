"""A real S3 server on a free port, in a process of its own, which can be frozen and killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError

from tests.support.servers import free_port

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class S3Server:
    """A running server with one bucket; `url` is its endpoint."""

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.bucket = "crates"
        command = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.client().create_bucket(Bucket=self.bucket)
                return
            except BotoCoreError:
                assert self.process.poll() is None, "moto_server has ended"
                assert time.monotonic() < deadline, "moto_server does not answer"
                time.sleep(0.05)

    def blobs_url(self, prefix: str) -> str:
        """Return the value of `REGISTRY_BLOBS_URL` for a prefix of the bucket."""
        return f"s3://{self.bucket}/{prefix}?endpoint={self.url}"

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Start a server, yield it, and end it."""
    server = S3Server()
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.kill()
