"""The usage ledger as a test reads it, and what it has to say after callers were told what they are billed."""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from tests.e2e.kills import Steady
from tests.e2e.worlds import World, eventually

from funclet.adapters.jetstream import connect
from funclet.adapters.usage_ledger import read_ledger
from funclet.core.usage import Usage, sum_by_function
from funclet.errors import Unavailable

LONGEST_MS = 1000
"""What one call of these tests may be billed, amply."""


def usage_of(world: World, function: str) -> Usage:
    """All of the ledger for this function. AssertionError while it cannot be read."""

    async def read() -> Usage:
        client = await connect(world.nats_url)
        try:
            hours = await read_ledger(client)
        except Unavailable as error:
            raise AssertionError(error.message) from error
        finally:
            await client.close()
        return sum_by_function(hours).get(f"{world.namespace}/{function}", Usage())

    return asyncio.run(read())


@dataclass(frozen=True)
class Audit:
    """What callers were told, beside what the ledger says."""

    answers: int
    told_ms: int
    unknown: int
    """Calls without an answer; they may have run, or not."""
    ledger: Usage

    @property
    def lost(self) -> int:
        """Answers that the ledger does not have."""
        return max(0, self.answers - self.ledger.invocations)

    @property
    def doubled(self) -> int:
        """Invocations in the ledger that cannot be."""
        return max(0, self.ledger.invocations - self.answers - self.unknown)

    @property
    def is_exact_in_ms(self) -> bool:
        """Whether the milliseconds agree too, but for what calls without an answer may have taken."""
        return 0 <= self.ledger.billed_ms - self.told_ms <= self.unknown * LONGEST_MS


def audit(world: World, function: str, callers: Iterable[Steady], seconds: float = 60) -> Audit:
    """Compare, once the ledger has all that callers were told of, or the time is up."""
    callers = list(callers)
    answers = sum(len(caller.billed_ms) for caller in callers)

    def has_all() -> bool:
        return usage_of(world, function).invocations >= answers

    with contextlib.suppress(AssertionError):  # the audit says what is missing
        eventually(has_all, seconds, every=0.5)
    told_ms = sum(sum(caller.billed_ms) for caller in callers)
    return Audit(answers, told_ms, sum(caller.unknown for caller in callers), usage_of(world, function))
