"""The cache in Redis that all workers and nodes share; it holds counters only."""

from collections.abc import Callable
from typing import Any

from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

from registry_site.errors import Unavailable


class IntegerSerializer:
    """Integers only: Django's own serializer unpickles, which lets everybody who can write to Redis run code here."""

    def dumps(self, value: int) -> int:
        return int(value)

    def loads(self, data: bytes) -> int:
        return int(data)


def raising_unavailable(method: Callable[..., Any]) -> Callable[..., Any]:
    """Translate the errors of the Redis client."""

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except RedisError as error:
            raise Unavailable("The registry's cache does not answer at present.") from error

    return call


class SharedCache(RedisCache):
    add = raising_unavailable(RedisCache.add)
    get = raising_unavailable(RedisCache.get)
    incr = raising_unavailable(RedisCache.incr)
