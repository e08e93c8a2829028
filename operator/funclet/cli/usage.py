"""`funclet usage`: what functions have used and what it would cost on AWS, from the durable ledger."""

import asyncio
import json
from datetime import UTC, datetime

import click

from funclet.adapters.jetstream import connect
from funclet.adapters.usage_ledger import read_ledger
from funclet.core.billing import gb_seconds
from funclet.core.cost import invocation_cost_usd
from funclet.core.usage import HourOfUsage, Usage, hour_of, sum_by_function
from funclet.errors import Unavailable

TIMES = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H", "%Y-%m-%dT%H:%M"])
CONNECT_SECONDS = 5.0


@click.command(short_help="Sum up what functions used and cost.")
@click.option("--nats", "nats_url", envvar="FUNCLET_NATS_URL", default="nats://127.0.0.1:4222", show_default=True,
              help="Where JetStream is; `funclet local` prints it.")  # fmt: skip
@click.option("--namespace", "-n", default=None, help="Only the functions of this namespace.")
@click.option("--since", type=TIMES, default=None, help="From this hour on, in UTC: 2026-01-31 or 2026-01-31T14.")
@click.option("--until", type=TIMES, default=None, help="Up to this hour, and without it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a function and line.")
def usage(nats_url: str, namespace: str | None, since: datetime | None, until: datetime | None, as_json: bool) -> None:
    """Sum up invocations, billed milliseconds, GB-seconds and their cost by function, hour by hour exact."""
    try:
        hours = asyncio.run(read(nats_url))
    except (Unavailable, TimeoutError, OSError) as error:
        raise click.ClickException(f"cannot read the usage ledger at {nats_url}: {error or 'no answer'}") from error
    sums = sum_by_function(hours, namespace=namespace, since=_hour(since) or 0, until=_hour(until))
    lines = [row(key, sums[key]) for key in sorted(sums)]
    for text in map(json.dumps, lines) if as_json else table(lines):
        click.echo(text)


async def read(nats_url: str) -> list[HourOfUsage]:
    """All of the ledger."""
    async with asyncio.timeout(CONNECT_SECONDS):
        client = await connect(nats_url, "funclet-usage")
    try:
        return await read_ledger(client)
    finally:
        await client.close()


def row(key: str, used: Usage) -> dict[str, str | int | float]:
    """One function's line."""
    gb = gb_seconds(1, used.mib_ms)
    return {
        "function": key,
        "invocations": used.invocations,
        "errors": used.errors,
        "billedMs": used.billed_ms,
        "gbSeconds": round(gb, 6),
        "usd": round(invocation_cost_usd(gb, used.invocations), 8),
    }


def table(lines: list[dict[str, str | int | float]]) -> list[str]:
    """For people: a heading, one line a function, in columns as wide as they must be."""
    heading = ("FUNCTION", "INVOCATIONS", "ERRORS", "BILLED MS", "GB-SECONDS", "USD")
    cells = [
        heading,
        *([f"{value:,}" if isinstance(value, int) else str(value) for value in line.values()] for line in lines),
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heading))]
    return ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in cells]


def _hour(moment: datetime | None) -> int | None:
    return None if moment is None else hour_of(moment.replace(tzinfo=UTC).timestamp())
