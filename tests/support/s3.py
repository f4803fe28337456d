"""Real S3 servers on free ports: one in a process that can be frozen and killed, and one that refuses to list."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tests.support.servers import free_port

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def client_of(url: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )


class S3Server:
    """A running server with one bucket; `url` is its endpoint."""

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.bucket = "crates"
        command = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def client(self) -> Any:
        return client_of(self.url)

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


class LimitedListings:
    """A server in this process, as a WSGI application; it refuses to list objects once `remaining` is 0."""

    def __init__(self) -> None:
        self.remaining = sys.maxsize
        self.application = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "list-type=2" in environ["QUERY_STRING"]:
            if not self.remaining:
                start_response("503 Slow Down", [("Content-Length", "0")])
                return []
            self.remaining -= 1
        answer: Iterable[bytes] = self.application(environ, start_response)
        return answer


@contextmanager
def limited_listings(bucket: str) -> Iterator[tuple[str, LimitedListings]]:
    """Start a server with one bucket, yield its endpoint and the server, and end it."""
    application = LimitedListings()
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        client_of(url).create_bucket(Bucket=bucket)
        yield url, application
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
