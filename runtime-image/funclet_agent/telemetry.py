"""What happens in one execution environment, told to the extensions that have subscribed (Telemetry and Logs API).

Subscriptions come in the init phase, so what happens there is kept for those that are still to come. When that is over
and nobody has subscribed, nothing is collected any more.
"""

import json
import time

from funclet_agent.courier import Courier
from funclet_agent.lines import timestamp
from funclet_agent.loop import Loop
from funclet_agent.telemetry_subscription import EXTENSION, FUNCTION, Api, Subscription, read_subscription

MAX_HISTORY_BYTES = 262_144
"""Of the init phase; as much as the least buffer of a subscriber. Platform events are few, and all kept."""
HURRY_NS = 25_000_000
"""How long events wait when the environment ends: the least that a subscription may ask for."""
DROPPED = "platform.logsDropped"
DROPPED_REASON = "Consumer seems to have fallen behind as it has not acknowledged receipt of logs."


class Buffer:
    """Events that wait to be delivered, up to the subscription's number of items or bytes; later ones are dropped."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._timeout_ns = subscription.timeout_ns
        self._events: list[bytes] = []
        self._bytes = 0
        self._dropped_records = 0
        self._dropped_bytes = 0
        self.due_at: int | None = None
        """When the first of them has waited long enough."""

    @property
    def is_full(self) -> bool:
        """Whether it takes no more."""
        return len(self._events) >= self._subscription.max_items or self._bytes >= self._subscription.max_bytes

    def add(self, event: bytes, now: int) -> None:
        """The newest event."""
        if self.is_full:
            self.drop(1, len(event))
            return
        if self.due_at is None:
            self.due_at = now + self._timeout_ns
        self._events.append(event)
        self._bytes += len(event)

    def hurry(self, now: int) -> None:
        """What is there is due, and the rest soon."""
        self._timeout_ns = HURRY_NS
        if self.due_at is not None:
            self.due_at = now

    def drop(self, records: int, size: int) -> None:
        """Count what the subscriber does not get."""
        self._dropped_records += records
        self._dropped_bytes += size

    def take(self) -> list[bytes]:
        """All of them, and what was dropped after them."""
        events, self._events, self._bytes, self.due_at = self._events, [], 0, None
        if self._dropped_records and self._subscription.takes(DROPPED):
            lost = {"droppedRecords": self._dropped_records, "droppedBytes": self._dropped_bytes}
            events.append(encode(DROPPED, {**lost, "reason": DROPPED_REASON}))
        self._dropped_records = self._dropped_bytes = 0
        return events


class Subscriber:
    """One extension's listener."""

    def __init__(self, name: str, subscription: Subscription, loop: Loop) -> None:
        self.name = name
        self.subscription = subscription
        self.buffer = Buffer(subscription)
        self._courier = Courier(loop, subscription, self._on_delivered)

    def add(self, kind: str, event: bytes, now: int) -> None:
        """An event, if it is for this one."""
        if self.subscription.takes(kind):
            self.buffer.add(event, now)
            if self.buffer.is_full:
                self._flush(now)

    @property
    def wake_at(self) -> int | None:
        """When to look again."""
        return self._courier.wake_at if self._courier.is_busy else self.buffer.due_at

    def look(self, now: int) -> None:
        """Deliver what is due."""
        if self._courier.wake_at is not None and self._courier.wake_at <= now:
            self._courier.look(now)
        elif self.buffer.is_full or (self.buffer.due_at is not None and self.buffer.due_at <= now):
            self._flush(now)

    def hurry(self, now: int) -> None:
        """The environment ends: deliver what there is, and what still comes."""
        self.buffer.hurry(now)
        self.look(now)

    def _flush(self, now: int) -> None:
        if not self._courier.is_busy and self.buffer.due_at is not None:
            self._courier.deliver(self.subscription.frame(self.buffer.take()), now)

    def _on_delivered(self) -> None:
        self.look(time.monotonic_ns())

    def close(self) -> None:
        """It will get no more."""
        self._courier.close()


class History:
    """What happened before a subscription, for as long as one may come."""

    def __init__(self) -> None:
        self._events: list[tuple[str, bytes]] = []
        self._bytes = 0
        self._dropped: dict[str, list[int]] = {FUNCTION: [], EXTENSION: []}

    def add(self, kind: str, event: bytes) -> None:
        """The newest event."""
        if kind in self._dropped and self._bytes + len(event) > MAX_HISTORY_BYTES:
            self._dropped[kind].append(len(event))
            return
        self._bytes += len(event)
        self._events.append((kind, event))

    def tell(self, subscriber: "Subscriber", now: int) -> None:
        """All that it would have got."""
        for kind, event in self._events:
            subscriber.add(kind, event, now)
        for kind, sizes in self._dropped.items():
            if subscriber.subscription.takes(kind):
                subscriber.buffer.drop(len(sizes), sum(sizes))


class Telemetry:
    """All subscribers of one execution environment."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._subscribers: list[Subscriber] = []
        self._history: History | None = History()
        """None when nobody may subscribe any more."""

    @property
    def is_silent(self) -> bool:
        """Whether nobody listens, or ever will."""
        return self._history is None and not self._subscribers

    @property
    def wake_at(self) -> int | None:
        """When to look again, nanoseconds of CLOCK_MONOTONIC."""
        return min((at for subscriber in self._subscribers if (at := subscriber.wake_at) is not None), default=None)

    def look(self, now: int) -> None:
        """Deliver what is due."""
        for subscriber in self._subscribers:
            subscriber.look(now)

    def subscribe(self, name: str, api: Api, body: bytes) -> str:
        """An extension's request; what it is told. Raises RefusedError."""
        if self._history is None:
            raise api.closed()
        own = [subscriber.subscription for subscriber in self._subscribers if subscriber.name == name]
        if other := next((known.api for known in own if known.api is not api), None):
            raise api.taken(name, other.name)
        subscription = read_subscription(body, api)
        if any(known.identity == subscription.identity for known in own):
            self._tell_subscription(name, subscription, "Already subscribed")
            return "AlreadySubscribed"
        subscriber = Subscriber(name, subscription, self._loop)
        self._history.tell(subscriber, time.monotonic_ns())
        if not self._subscribers:
            self._loop.timers.append(self)
        self._subscribers.append(subscriber)
        self._tell_subscription(name, subscription, "Subscribed")
        return "OK"

    def _tell_subscription(self, name: str, subscription: Subscription, state: str) -> None:
        self.publish(subscription.api.subscribed, {"name": name, "state": state, "types": subscription.types})

    def end_subscriptions(self) -> None:
        """The init phase is over."""
        self._history = None

    def publish(self, kind: str, record: object) -> None:
        """Tell everybody whom it concerns."""
        event, now = encode(kind, record), time.monotonic_ns()
        if self._history is not None:
            self._history.add(kind, event)
        for subscriber in self._subscribers:
            subscriber.add(kind, event, now)

    def publish_lines(self, kind: str, data: bytes, *, as_json: bool) -> None:
        """What FUNCTION or EXTENSION has printed: an event for each line, with an object where `as_json` finds one."""
        if self.is_silent:
            return
        for line in data.decode(errors="backslashreplace").removesuffix("\n").split("\n"):
            self.publish(kind, read_object(line) if as_json else line)

    def hurry(self) -> None:
        """The environment ends: deliver what there is, and what still comes."""
        for subscriber in self._subscribers:
            subscriber.hurry(time.monotonic_ns())

    def close(self) -> None:
        """Nobody is there any more."""
        self._history = None
        for subscriber in self._subscribers:
            subscriber.close()
        if self._subscribers:
            self._loop.timers.remove(self)
        self._subscribers = []


def encode(kind: str, record: object) -> bytes:
    """An event as it is delivered."""
    return json.dumps({"time": timestamp(), "type": kind, "record": record}).encode()


def read_object(line: str) -> object:
    """The JSON object that a line is; the line if it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return line
    return found if isinstance(found, dict) else line
