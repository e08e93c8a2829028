"""Funclet on three NATS servers, of which the leader dies: calls, events and results go on."""

import asyncio
from pathlib import Path

import httpx
import nats.errors
from tests.e2e.local.mortal_house import MortalHouse
from tests.e2e.local.test_async_kills import PATH, SENDERS, Sender, find_results, waiting_events, write_function
from tests.e2e.worlds import eventually

from funclet.adapters.event_streams import EVENTS
from funclet.adapters.jetstream import connect

SOME = 50
PATIENCE_SECONDS = 120


def find_leader(house: MortalHouse) -> str:
    """The server that decides on events, once the one that is asked knows it."""

    async def ask() -> str:
        client = await connect(house.settings.nats_url)
        try:
            cluster = (await client.jetstream().stream_info(EVENTS)).cluster
        except (nats.errors.Error, OSError):
            return ""
        finally:
            await client.close()
        return getattr(cluster, "leader", None) or ""

    return eventually(lambda: asyncio.run(ask()))


def test_the_leader_of_three_dies_and_no_event_is_lost(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    with MortalHouse(tmp_path, servers=3) as house:
        write_function(house, seen)
        url = house.settings.gateway_url + PATH
        eventually(lambda: httpx.post(url, json={"n": 1}, timeout=60).status_code == 200, seconds=PATIENCE_SECONDS)
        senders = [Sender(url, range(2 + 10**6 * n, 10**6 * (n + 1))) for n in range(SENDERS)]

        def acknowledged() -> dict[int, str]:
            return {number: name for sender in senders for number, name in sender.acknowledged.items()}

        for sender in senders:
            sender.start()
        eventually(lambda: len(acknowledged()) > SOME, seconds=PATIENCE_SECONDS)
        house.kill(find_leader(house))
        before = len(acknowledged())
        assert httpx.post(url, json={"n": 10**8}, timeout=100).json() == 10**8
        eventually(lambda: len(acknowledged()) > before + SOME, seconds=PATIENCE_SECONDS)
        for sender in senders:
            sender.stopping.set()
        for sender in senders:
            sender.join()
        eventually(lambda: waiting_events(house.settings.nats_url) == 0, seconds=PATIENCE_SECONDS, every=0.5)
        assert set(find_results(url, acknowledged()).values()) == {"Succeeded"}
    ran = {int(line.split()[0]) for line in (seen / "witness").read_text().splitlines()}
    assert acknowledged().keys() <= ran
    assert not [text for sender in senders for text in sender.unexpected]
