"""Which connections may read their bodies into memory, and which are cut off first."""

from dataclasses import dataclass

import pytest

from registry_site.server.waiting_bodies import (
    LARGE_BODIES,
    LARGE_BODIES_OF_A_CLIENT,
    SMALL_BODY_BYTES,
    WaitingBodies,
)

pytestmark = pytest.mark.database_independent


@dataclass(eq=False)
class BodyOf:
    """A connection with a short body, as `WaitingBodies` sees it."""

    body_client: str
    body_length: int = 40
    timeout: float = 0.0


def begin_large(bodies: WaitingBodies, client: str, number: int) -> list[BodyOf]:
    """Add large bodies of a client, and return those that may be read."""
    connections = [BodyOf(client, SMALL_BODY_BYTES + 1) for _ in range(number)]
    for conn in connections:
        bodies.add(conn)
    return [conn for conn in connections if bodies.begin(conn)]


def test_first_deadline_comes_first() -> None:
    bodies = WaitingBodies(connections=100)
    second, first = BodyOf("192.0.2.1", timeout=20), BodyOf("192.0.2.1", timeout=10)
    bodies.add(second)
    bodies.add(first)
    assert [bodies.next_late(9), bodies.next_late(11), bodies.next_late(21)] == [None, first, first]
    bodies.remove(first)
    assert [bodies.next_late(11), bodies.next_late(21)] == [None, second]


def test_client_with_most_bodies_makes_room() -> None:
    bodies = WaitingBodies(connections=6)
    clients = ("192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.3")
    waiting = [BodyOf(client, timeout=number) for number, client in enumerate(clients)]
    for conn in waiting[:3]:
        bodies.add(conn)
    assert bodies.next_surplus() is None
    bodies.add(waiting[3])
    assert bodies.next_surplus() is waiting[1]


def test_small_bodies_need_no_turn() -> None:
    bodies = WaitingBodies(connections=1000)
    for number in range(LARGE_BODIES // LARGE_BODIES_OF_A_CLIENT):
        begin_large(bodies, f"192.0.2.{number}", LARGE_BODIES)
    small = BodyOf("192.0.2.1", SMALL_BODY_BYTES)
    bodies.add(small)
    assert bodies.begin(small)


def test_large_bodies_take_turns() -> None:
    """A client has a quarter, all together have a maximum, and the next turn comes when a request is over."""
    bodies = WaitingBodies(connections=1000)
    first, *others = [begin_large(bodies, f"192.0.2.{number}", LARGE_BODIES_OF_A_CLIENT + 1) for number in range(5)]
    assert [len(first), *map(len, others)] == [LARGE_BODIES_OF_A_CLIENT] * 4 + [0]
    assert bodies.begin_next() is None
    assert [bodies.end(first[0]), bodies.end(first[0])] == [True, False]
    turn = bodies.begin_next()
    assert turn is not None
    assert (turn.body_client, bodies.begin_next()) == ("192.0.2.0", None)
    bodies.end(others[0][0])
    bodies.remove(others[0][0])
    assert bodies.remove(turn)


def test_body_without_its_turn_is_not_being_read() -> None:
    bodies = WaitingBodies(connections=1000)
    reading = begin_large(bodies, "192.0.2.1", LARGE_BODIES_OF_A_CLIENT)
    late = BodyOf("192.0.2.1", SMALL_BODY_BYTES + 1)
    bodies.add(late)
    assert not bodies.begin(late)
    assert [bodies.remove(late), bodies.remove(reading[0])] == [False, True]
    bodies.end(reading[0])
    assert bodies.begin_next() is None
