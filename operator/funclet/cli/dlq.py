"""`funclet dlq`: the events of asynchronous invocations that were given up."""

import asyncio
import functools
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import click

from funclet.adapters.dead_letters import Choice, DeadLetter, DeadLetters
from funclet.adapters.jetstream import connect
from funclet.core.invocation_record import iso_milliseconds, read_json
from funclet.errors import FuncletError

NATS_URL = "nats://127.0.0.1:4222"
CONNECT_SECONDS = 5.0
HINT = (
    "`funclet local` says where its JetStream is; for a cluster: "
    "kubectl -n funclet port-forward service/funclet-nats 4222 &"
)

Work = Callable[[DeadLetters], Awaitable[None]]


@click.group(short_help="Handle events that were given up.")
@click.option(
    "--nats", "nats_url", envvar="FUNCLET_NATS_URL", default=NATS_URL, show_default=True, help="URL of Funclet's NATS."
)
@click.pass_context
def dlq(context: click.Context, nats_url: str) -> None:
    """List, show, redrive and purge the events of asynchronous invocations that were given up."""
    context.obj = nats_url


def selects(*, careful: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the arguments that say which dead letters are meant, as one Choice."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.argument("function", required=False)
        @click.option("--all", "everything", is_flag=True, help="Of all functions in all namespaces.")
        @click.option("--namespace", "-n", default="default", show_default=True, help="The function's.")
        @click.option("--id", "request_id", default=None, help="The one with this request id.")
        @functools.wraps(command)
        def choosing(
            function: str | None, everything: bool, namespace: str, request_id: str | None, **more: Any
        ) -> None:
            if careful and not (function or request_id or everything):
                raise click.UsageError("say which: FUNCTION, --id REQUEST_ID, or --all")
            command(choice=choose(function, namespace, request_id, everything=everything), **more)

        return choosing

    return decorate


@dlq.command("list")
@selects(careful=False)
@click.option("--limit", default=100, show_default=True, help="At most so many lines, the oldest first.")
def list_(choice: Choice, limit: int) -> None:
    """One line for each: when, which function, why, attempts, request id, and what the function said."""

    async def work(letters: DeadLetters) -> None:
        count = 0
        async for letter in letters.read(choice):
            count += 1
            if count > limit:
                click.echo(f"… there are more than {limit}", err=True)
                return
            click.echo(line(letter))
        if not count:
            click.echo("No dead letters.", err=True)

    run(work)


@dlq.command()
@click.argument("request_id")
def show(request_id: str) -> None:
    """All that is known of one, as JSON."""

    async def work(letters: DeadLetters) -> None:
        async for letter in letters.read(Choice(request_id=request_id)):
            click.echo(json.dumps(describe(letter), indent=2, ensure_ascii=False))
            return
        raise click.ClickException(f"no dead letter has the request id {request_id}")

    run(work)


@dlq.command()
@selects(careful=True)
def redrive(choice: Choice) -> None:
    """Give them to their functions again, under new request ids. FUNCTION, --id or --all says which."""

    async def work(letters: DeadLetters) -> None:
        async for letter in until_now(letters, choice):
            click.echo(f"{letter.event.request_id} → {await letters.redrive(letter)}")

    run(work)


@dlq.command()
@selects(careful=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(choice: Choice, yes: bool) -> None:
    """Delete them for good. FUNCTION, --id or --all says which."""
    if not yes:
        click.confirm("Delete these dead letters for good?", abort=True)

    async def work(letters: DeadLetters) -> None:
        count = 0
        async for letter in until_now(letters, choice):
            await letters.delete(letter)
            count += 1
        click.echo(f"{count} deleted")

    run(work)


def choose(function: str | None, namespace: str, request_id: str | None, *, everything: bool) -> Choice:
    """What the arguments mean. A request id alone is looked for everywhere."""
    if everything or (request_id and not function):
        return Choice(request_id=request_id)
    return Choice(namespace, function or "*", request_id)


async def until_now(letters: DeadLetters, choice: Choice) -> AsyncIterator[DeadLetter]:
    """Those that are there when it begins: what is given up again meanwhile is not redriven for ever."""
    began = datetime.now(UTC)
    async for letter in letters.read(choice):
        if letter.given_up_at is not None and letter.given_up_at > began:
            return
        yield letter


def line(letter: DeadLetter) -> str:
    """One dead letter for people."""
    parts = (
        _time(letter.given_up_at), letter.event.key, letter.condition, str(letter.attempts), letter.event.request_id,
        letter.error_message[:60],
    )  # fmt: skip
    return "  ".join(parts)


def describe(letter: DeadLetter) -> dict[str, object]:
    """One dead letter with its payload."""
    return {
        "requestId": letter.event.request_id,
        "function": letter.event.key,
        "condition": letter.condition,
        "attempts": letter.attempts,
        "errorMessage": letter.error_message,
        "acceptedAt": _time(datetime.fromtimestamp(letter.event.accepted_ms / 1000, UTC)),
        "givenUpAt": _time(letter.given_up_at),
        "payload": read_json(letter.event.payload),
    }


def _time(moment: datetime | None) -> str:
    return "" if moment is None else iso_milliseconds(moment)


def run(work: Work) -> None:
    """Does the work with a connection, and says in one line why that failed."""

    nats_url: str = click.get_current_context().obj

    async def connected() -> None:
        async with _connection(nats_url) as letters:
            await work(letters)

    try:
        asyncio.run(connected())
    except FuncletError as error:
        click.echo(f"funclet dlq: {error.message}", err=True)
        sys.exit(1)


@asynccontextmanager
async def _connection(nats_url: str) -> AsyncIterator[DeadLetters]:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            client = await connect(nats_url, "funclet-dlq")
    except (TimeoutError, OSError) as error:
        raise FuncletError(f"no NATS at {nats_url}. {HINT}") from error
    try:
        yield DeadLetters(client)
    finally:
        await client.close()
