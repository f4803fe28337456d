"""The cache in Redis that all workers and nodes share; it holds counters only."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

from registry_site.errors import Unavailable
from registry_site.upstream_failures import logged_failure


class IntegerSerializer:
    """Integers only: Django's own serializer unpickles, which lets everybody who can write to Redis run code here."""

    def dumps(self, value: int) -> int:
        return int(value)

    def loads(self, data: bytes) -> int:
        return int(data)


def raising_unavailable(method: Callable[..., Any]) -> Callable[..., Any]:
    """Translate the errors of the Redis client, with a line of the log for each."""

    def call(self: "SharedCache", *args: Any, **kwargs: Any) -> Any:
        try:
            with logged_failure("cache", method.__name__, self.host, RedisError):
                return method(self, *args, **kwargs)
        except RedisError as error:
            raise Unavailable("The registry's cache does not answer at present.") from error

    return call


class SharedCache(RedisCache):
    def __init__(self, server: str, params: dict[str, Any]) -> None:
        if settings.CA_FILE and server.startswith("rediss:"):  # counts beside the system's authorities
            params = {**params, "OPTIONS": {**params["OPTIONS"], "ssl_ca_certs": str(settings.CA_FILE)}}
        super().__init__(server, params)
        self.host = urlsplit(server).netloc.rpartition("@")[2]

    add = raising_unavailable(RedisCache.add)
    get = raising_unavailable(RedisCache.get)
    incr = raising_unavailable(RedisCache.incr)
