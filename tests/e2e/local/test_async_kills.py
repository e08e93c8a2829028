"""kill -9 of every role at random points while events are accepted: nothing that was acknowledged is lost.

FUNCLET_KILL_SECONDS (20) is how long events come and roles die; FUNCLET_KILL_SEED repeats the choice of a run.
"""

import asyncio
import collections
import os
import random
import threading
import time
from pathlib import Path

import httpx
import pytest
import yaml
from tests.e2e.local.mortal_house import ROLES, MortalHouse
from tests.e2e.worlds import eventually

from funclet.adapters.event_streams import list_waiting
from funclet.adapters.jetstream import connect
from funclet.errors import Unavailable

SECONDS = float(os.environ.get("FUNCLET_KILL_SECONDS", "20"))
SENDERS = 4
REFUSALS = (404, 409, 503)
"""A gateway that has just started does not know the function yet, or that it is ready, or JetStream."""
DRAIN_SECONDS = 240
ENOUGH = int(3 * SECONDS)
"""Acknowledged events, for which a slow machine gets more time."""
LONGEST_SECONDS = 6 * SECONDS
PATH = "/2015-03-31/functions/witness/invocations"

HANDLER = """
import os, time

def handler(event, context):
    number = event["n"]
    time.sleep(0.02)
    if number % 7 == 0:  # fails at its first attempt, wherever that is
        try:
            os.close(os.open(f"{os.environ['FOLDER']}/first-{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            raise ValueError("the first time")
    with open(f"{os.environ['FOLDER']}/witness", "ab", buffering=0) as file:
        file.write(b"%d %s\\n" % (number, context.aws_request_id.encode()))
    return number
"""


class Sender(threading.Thread):
    """Sends one event after another; `acknowledged` are those that were answered with 202, with their request ids."""

    def __init__(self, url: str, numbers: range) -> None:
        super().__init__(daemon=True)
        self._url, self._numbers = url, numbers
        self.stopping = threading.Event()
        self.acknowledged: dict[int, str] = {}
        self.refused = 0
        self.unexpected: list[str] = []

    def run(self) -> None:
        with httpx.Client(timeout=10) as client:
            for number in self._numbers:
                if self.stopping.is_set():
                    return
                self._send(client, number)

    def _send(self, client: httpx.Client, number: int) -> None:
        headers = {"x-amz-invocation-type": "Event"}
        try:
            answer = client.post(self._url, json={"n": number}, headers=headers)
        except httpx.TransportError:
            self.refused += 1
            time.sleep(0.05)
            return
        if answer.status_code == 202:
            self.acknowledged[number] = answer.headers["x-amzn-requestid"]
        else:
            self.refused += 1
            if answer.status_code not in REFUSALS:
                self.unexpected.append(answer.text)
        time.sleep(0.02)


def write_function(house: MortalHouse, folder: Path) -> None:
    spec = {
        "runtime": "python3.13", "handler": "index.handler", "code": {"inline": HANDLER},
        "environment": {"variables": {"FOLDER": str(folder)}},
        "scaling": {"maxInstances": 3, "idleTimeoutSeconds": 10},
    }  # fmt: skip
    resource = {"apiVersion": "funclet.dev/v1", "kind": "Function", "metadata": {"name": "witness"}, "spec": spec}
    (house.resources / "witness.yaml").write_text(yaml.safe_dump(resource))


def waiting_events(nats_url: str) -> int:
    """Events that are not done; -1 while nobody knows."""

    async def ask() -> int:
        client = await connect(nats_url)
        try:
            return sum((await list_waiting(client)).values())
        finally:
            await client.close()

    async def in_time() -> int:
        async with asyncio.timeout(5):
            return await ask()

    try:
        return asyncio.run(in_time())
    except (Unavailable, OSError):
        return -1


@pytest.mark.timeout(LONGEST_SECONDS + DRAIN_SECONDS + 240)
def test_nothing_acknowledged_is_lost_whoever_is_killed_and_when(tmp_path: Path) -> None:
    seed = int(os.environ.get("FUNCLET_KILL_SEED", random.randrange(1_000_000)))
    chance = random.Random(seed)
    seen = tmp_path / "seen"
    seen.mkdir()
    with MortalHouse(tmp_path) as house:
        write_function(house, seen)
        url = house.settings.gateway_url + PATH
        eventually(lambda: httpx.post(url, json={"n": 1}, timeout=60).status_code == 200)
        (seen / "witness").unlink()

        senders = [Sender(url, range(1 + 10**6 * n, 10**6 * (n + 1))) for n in range(SENDERS)]
        for sender in senders:
            sender.start()
        kills: collections.Counter[str] = collections.Counter()
        begun = time.monotonic()
        while is_too_early(time.monotonic() - begun, sum(len(sender.acknowledged) for sender in senders)):
            time.sleep(chance.uniform(0.1, 4))
            role = chance.choice(ROLES)
            house.kill(role)
            kills[role] += 1
        for sender in senders:
            sender.stopping.set()
        for sender in senders:
            sender.join()
        acknowledged = {number: name for sender in senders for number, name in sender.acknowledged.items()}
        ended = time.monotonic()
        eventually(lambda: waiting_events(house.settings.nats_url) == 0, seconds=DRAIN_SECONDS, every=0.5)
        drained_seconds = time.monotonic() - ended
        results = find_results(url, acknowledged)

    lines = [line.split() for line in (seen / "witness").read_text().splitlines()]
    runs = collections.Counter(int(number) for number, _ in lines)
    lost = acknowledged.keys() - runs.keys()
    repeated = sum(count - 1 for count in runs.values())
    refused = sum(sender.refused for sender in senders)
    print(
        f"\nseed {seed}: {dict(kills)} killed; {len(acknowledged)} events acknowledged, {refused} refused; "
        f"{len(lost)} lost; {repeated} runs more than one each; "
        f"all done {drained_seconds:.1f} s after the last kill"
    )
    assert not lost, f"seed {seed}: {sorted(lost)[:20]}"
    assert all(acknowledged[int(number)] == name for number, name in lines if int(number) in acknowledged)
    assert set(results.values()) == {"Succeeded"}, f"seed {seed}"
    assert not [text for sender in senders for text in sender.unexpected]
    assert len(acknowledged) >= ENOUGH, "the test has tested something"
    assert repeated <= 32 * sum(kills.values()), "no more than what was under way at a kill"


def is_too_early(seconds: float, acknowledged: int) -> bool:
    """Whether roles have to die yet."""
    return seconds < SECONDS or (acknowledged < ENOUGH and seconds < LONGEST_SECONDS)


def find_results(url: str, acknowledged: dict[int, str]) -> dict[str, str]:
    """What is said of each event by its request id."""
    found = {}
    with httpx.Client(timeout=60) as client:
        for name in acknowledged.values():
            answer = eventually(lambda name=name: _ask(client, f"{url}/{name}"))  # type: ignore[misc]
            found[name] = answer.json().get("status", str(answer.status_code))
    return found


def _ask(client: httpx.Client, url: str) -> httpx.Response | None:
    answer = client.get(url)
    return None if answer.status_code == 503 else answer
