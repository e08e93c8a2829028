"""The package store: code packages (zip archives) by their SHA-256, in a JetStream object-store bucket."""

import asyncio
import hashlib
from typing import Self

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ObjectStoreConfig
from nats.js.errors import BucketNotFoundError, NotFoundError
from nats.js.object_store import ObjectStore

from funclet.adapters.jetstream import unavailable_when_unreachable
from funclet.errors import Unavailable

BUCKET = "funclet-packages"
STREAM = f"OBJ_{BUCKET}"
"""Where a bucket's objects lie: their chunks in order, under the subject `$O.BUCKET.C.NUID` (NATS ADR-20)."""

TRANSFER_TIMEOUT_SECONDS = 60.0
"""For one whole package (250 MiB unpacked at most)."""


class PackageStore:
    """Code packages by digest. A package never changes, so one that is there needs no second upload."""

    def __init__(self, jetstream: JetStreamContext, bucket: ObjectStore) -> None:
        self._jetstream = jetstream
        self._bucket = bucket

    @classmethod
    async def open(cls, connection: Client, replicas: int = 1) -> Self:
        """The store behind this connection; its bucket is made when it is missing, on so many servers."""
        jetstream = connection.jetstream()
        with unavailable_when_unreachable():
            return cls(jetstream, await _open_bucket(jetstream, replicas))

    async def put(self, data: bytes) -> str:
        """Keeps a package and returns its SHA-256 in lower-case hexadecimal digits."""
        digest = hashlib.sha256(data).hexdigest()
        if not await self.has(digest):
            with unavailable_when_unreachable():
                async with asyncio.timeout(TRANSFER_TIMEOUT_SECONDS):
                    await self._bucket.put(digest, data)
        return digest

    async def get(self, sha256: str) -> bytes:
        """The package of this digest. Raises Unavailable when it is not there (yet) or is damaged."""
        try:
            with unavailable_when_unreachable():
                async with asyncio.timeout(TRANSFER_TIMEOUT_SECONDS):
                    data = await self._fetch(sha256)
        except Unavailable as error:
            if isinstance(error.__cause__, NotFoundError):
                raise Unavailable(f"code package {sha256} is not in the store", reason="PackageNotFound") from error
            raise
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Unavailable(f"code package {sha256} is damaged in the store", reason="PackageDamaged")
        return data

    async def _fetch(self, sha256: str) -> bytes:
        """Chunk by chunk, each asked for. nats-py's own `get` makes a consumer for each package, which stays for a
        while, and after a thousand the server makes no more; and it waits without an end for a message that was lost.
        """
        info = await self._bucket.get_info(sha256)
        chunks, next_sequence = [], 1
        for _ in range(info.chunks or 0):
            message = await self._jetstream.get_msg(STREAM, next_sequence, f"$O.{BUCKET}.C.{info.nuid}", next=True)
            chunks.append(message.data or b"")
            next_sequence = (message.seq or 0) + 1
        return b"".join(chunks)

    async def has(self, sha256: str) -> bool:
        """Whether this package is there."""
        with unavailable_when_unreachable():
            try:
                await self._bucket.get_info(sha256)
            except NotFoundError:
                return False
        return True


async def _open_bucket(jetstream: JetStreamContext, replicas: int) -> ObjectStore:
    try:
        return await jetstream.object_store(BUCKET)
    except (BucketNotFoundError, NotFoundError):
        # Two roles may do this at once: creating the same stream twice is no error for JetStream.
        return await jetstream.create_object_store(BUCKET, ObjectStoreConfig(replicas=replicas))
