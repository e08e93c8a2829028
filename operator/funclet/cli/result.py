"""`funclet result`: what became of an asynchronous invocation."""

import json
import sys
import time
from typing import Any

import click
import httpx

ENDPOINT = "http://127.0.0.1:8080"
POLL_SECONDS = 0.2
FINAL = ("Succeeded", "Failed")


@click.command(short_help="Show an asynchronous call's outcome.")
@click.argument("name")
@click.argument("request_id")
@click.option("--endpoint", envvar="FUNCLET_ENDPOINT", default=ENDPOINT, show_default=True, help="The gateway's URL.")
@click.option("--namespace", "-n", default=None, help="The function's namespace.")
@click.option("--wait", default=0.0, show_default=True, help="Wait so many seconds for the end.")
def result(name: str, request_id: str, endpoint: str, namespace: str | None, wait: float) -> None:
    """Show what became of the asynchronous invocation REQUEST_ID of the function NAME."""
    show_result(f"{function_url(endpoint, namespace, name)}/{request_id}", wait)


def function_url(endpoint: str, namespace: str | None, name: str) -> str:
    """Where a function's invocations are."""
    prefix = f"/namespaces/{namespace}" if namespace else ""
    return f"{endpoint.rstrip('/')}{prefix}/2015-03-31/functions/{name}/invocations"


def show_result(url: str, wait_seconds: float) -> None:
    """Prints the result; exits with 1 when the invocation has failed, or nothing final is known in time."""
    document = await_result(url, wait_seconds)
    if document is None:
        raise click.ClickException("nothing is known of it: no attempt has ended yet, or its time is over")
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    if document["status"] != "Succeeded":
        sys.exit(1)


def await_result(url: str, wait_seconds: float) -> dict[str, Any] | None:
    """The result once it is final, or the last word on it when the time is over."""
    end = time.monotonic() + wait_seconds
    while True:
        document = read_result(url)
        if (document and document["status"] in FINAL) or time.monotonic() >= end:
            return document
        time.sleep(POLL_SECONDS)


def read_result(url: str) -> dict[str, Any] | None:
    """What is known now."""
    try:
        answer = httpx.get(url, timeout=10)
    except httpx.TransportError as error:
        raise click.ClickException(f"no answer from {url}: {error}") from error
    if answer.status_code == 404:
        return None
    if answer.is_error:
        raise click.ClickException(f"{answer.status_code} {answer.text}")
    document: dict[str, Any] = answer.json()
    return document
