"""`funclet invoke`: call a function as any Lambda client does, and show what it took."""

import base64
import json
import sys

import click
import httpx

from funclet.cli.result import ENDPOINT, function_url, show_result
from funclet.core.cost import invocation_cost_usd


@click.command(short_help="Call a function.")
@click.argument("name")
@click.option(
    "--payload", default="{}", show_default=True, help="The event as JSON; @FILE reads a file, - reads stdin."
)
@click.option("--endpoint", envvar="FUNCLET_ENDPOINT", default=ENDPOINT, show_default=True, help="The gateway's URL.")
@click.option("--namespace", "-n", default=None, help="The function's namespace.")
@click.option("--async", "asynchronous", is_flag=True, help="Only have it accepted; prints the request id.")
@click.option("--wait", default=0.0, help="With --async: wait so many seconds for the result, and show it.")
def invoke(name: str, payload: str, endpoint: str, namespace: str | None, asynchronous: bool, wait: float) -> None:
    """Invoke the function NAME and show its answer, duration, cost and log."""
    event = read_payload(payload)
    url = function_url(endpoint, namespace, name)
    headers = {"x-amz-invocation-type": "Event"} if asynchronous else {"x-amz-log-type": "Tail"}
    try:
        response = httpx.post(url, content=event, headers=headers, timeout=920)
    except httpx.TransportError as error:
        raise click.ClickException(
            f"no answer from {endpoint}: {error}. Is `funclet local` running, or is --endpoint the gateway's URL?"
        ) from error
    if asynchronous and not response.is_error:
        accepted(url, response.headers["x-amzn-requestid"], wait)
        return
    show(response)
    if response.is_error or "x-amz-function-error" in response.headers:
        sys.exit(1)


def accepted(url: str, request_id: str, wait_seconds: float) -> None:
    """The request id, and with `wait_seconds` what became of it."""
    click.echo(request_id, err=wait_seconds > 0)
    if wait_seconds > 0:
        show_result(f"{url}/{request_id}", wait_seconds)


def read_payload(payload: str) -> bytes:
    """The event's bytes: from standard input, a file, or as given. Refuses what is not JSON."""
    if payload == "-":
        text = sys.stdin.read()
    elif payload.startswith("@"):
        with click.open_file(payload[1:], encoding="utf-8") as file:
            text = file.read()
    else:
        text = payload
    try:
        json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"is not JSON: {error}", param_hint="--payload") from error
    return text.encode()


def show(response: httpx.Response) -> None:
    """The answer goes to standard output, all that is about it to standard error."""
    click.echo(response.text)
    if response.is_error:
        click.secho(
            f"{response.status_code} {response.headers.get('x-amzn-errortype', '')}".rstrip(), fg="red", err=True
        )
        return
    headers = response.headers
    if "x-amz-function-error" in headers:
        click.secho(f"The function failed ({headers['x-amz-function-error']}).", fg="red", err=True)
    click.secho(summary(headers), dim=True, err=True)
    if log := headers.get("x-amz-log-result"):
        click.secho(base64.b64decode(log).decode("utf-8", "replace").rstrip(), dim=True, err=True)


def summary(headers: httpx.Headers) -> str:
    """One line: duration, billed duration, cold start, GB-seconds and cost."""
    billed_ms, memory_mib = int(headers.get("x-funclet-billed-ms", 0)), int(headers.get("x-funclet-memory-mib", 128))
    parts = [f"duration {headers.get('x-funclet-duration-ms', '?')} ms", f"billed {billed_ms} ms"]
    if init := headers.get("x-funclet-init-ms"):
        parts.append(f"init {init} ms (cold start)")
    gb_seconds = memory_mib / 1024 * billed_ms / 1000
    parts.append(f"{gb_seconds:.6f} GB-s")
    parts.append(f"${invocation_cost_usd(gb_seconds):.10f}")
    return " · ".join(parts)
