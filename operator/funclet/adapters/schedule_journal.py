"""How far each schedule has come, in JetStream's key-value bucket `FUNCLET_SCHEDULES`: one small record a schedule.

So a schedule that was due while nobody was there is made up for, and one that was made or changed begins then.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from nats.aio.client import Client
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import BucketNotFoundError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from funclet.adapters.jetstream import unavailable_when_unreachable

BUCKET = "FUNCLET_SCHEDULES"
ANSWER_SECONDS = 5.0
NOT_YET = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one Trigger's generation: since when it is counted, and the last time that was due and is done with."""

    uid: str
    generation: int
    since: datetime
    done: datetime | None = None

    @property
    def rest(self) -> datetime:
        """From when on what is due is not done with."""
        return self.since if self.done is None else self.done + NOT_YET

    def is_before(self, other: "Progress") -> bool:
        """Whether that one, of the same Trigger or of one that has its name, has come further."""
        return self.uid != other.uid or (self.generation, self.rest) < (other.generation, other.rest)

    def to_json(self) -> bytes:
        """As it is stored."""
        done = {"done": self.done.isoformat()} if self.done else {}
        return json.dumps(
            {"uid": self.uid, "generation": self.generation, "since": self.since.isoformat(), **done}
        ).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """What was stored so."""
        found: dict[str, Any] = json.loads(data)
        done = datetime.fromisoformat(found["done"]) if "done" in found else None
        return cls(found["uid"], found["generation"], datetime.fromisoformat(found["since"]), done)


class ScheduleJournal:
    """Every method raises Unavailable when JetStream cannot do it now. Keys are `namespace/name` of Triggers."""

    def __init__(self, client: Client, replicas: int) -> None:
        self._jetstream = client.jetstream(timeout=ANSWER_SECONDS)
        self._replicas = replicas
        self._opened: KeyValue | None = None

    async def begin(self, key: str, uid: str, generation: int, now: datetime) -> Progress:
        """How far it has come; from now on, if this generation is new."""
        fresh = Progress(uid, generation, now.astimezone(UTC).replace(microsecond=0))
        with unavailable_when_unreachable():
            bucket = await self._open()
            while True:
                found, revision = await _find(bucket, key)
                if found is not None and found.uid == uid and found.generation >= generation:
                    return found
                try:
                    await bucket.update(key, fresh.to_json(), last=revision)
                except KeyWrongLastSequenceError:
                    continue  # somebody else began it meanwhile
                return fresh

    async def note(self, key: str, progress: Progress) -> bool:
        """It has come so far. False: somebody else has noted that, or more, or a newer generation has begun."""
        with unavailable_when_unreachable():
            bucket = await self._open()
            while True:
                found, revision = await _find(bucket, key)
                if found is not None and not found.is_before(progress):
                    return False
                try:
                    await bucket.update(key, progress.to_json(), last=revision)
                except KeyWrongLastSequenceError:
                    continue
                return True

    async def forget(self, key: str, uid: str) -> None:
        """This Trigger is gone; perhaps another one has its name by now."""
        with unavailable_when_unreachable():
            bucket = await self._open()
            found, revision = await _find(bucket, key)
            if found is not None and found.uid == uid:
                await bucket.delete(key, last=revision)

    async def _open(self) -> KeyValue:
        if self._opened is None:
            try:
                self._opened = await self._jetstream.key_value(BUCKET)
            except BucketNotFoundError:
                self._opened = await self._jetstream.create_key_value(
                    KeyValueConfig(
                        bucket=BUCKET,
                        description="How far each schedule has come (Funclet)",
                        storage=StorageType.FILE,
                        replicas=self._replicas,
                    )
                )
        return self._opened


async def _find(bucket: KeyValue, key: str) -> tuple[Progress | None, int]:
    """And the revision to update."""
    try:
        entry = await bucket.get(key)
    except KeyNotFoundError as error:
        deleted = error.entry  # a mark of its deletion has a revision too
        return None, deleted.revision if deleted is not None and deleted.revision else 0
    return Progress.from_json(entry.value or b"{}"), entry.revision or 0
