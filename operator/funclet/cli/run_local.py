"""`funclet local`: all roles in one process."""

import sys
from pathlib import Path

import click
import uvloop

from funclet.errors import FuncletError


@click.command(short_help="Run functions on this machine.")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--port", default=8080, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option("--nats", "nats_url", default=None, help="URL of a NATS server with JetStream. Default: start one.")
@click.option("--pool-size", default=1, show_default=True, help="Generic instances kept warm for each runtime.")
@click.option(
    "--writable",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="A folder in which functions may write, beside /tmp; may be given several times.",
)
@click.option(
    "--management/--no-management",
    default=True,
    show_default=True,
    help="Serve Lambda's management API too (CreateFunction and its kin).",
)
@click.option(
    "--async-retry-seconds",
    type=(float, float),
    default=(60.0, 120.0),
    show_default=True,
    help="When an asynchronous invocation that failed is tried again: after its first attempt and its second.",
)
def local(
    paths: tuple[Path, ...],
    port: int,
    nats_url: str | None,
    pool_size: int,
    management: bool,
    writable: tuple[Path, ...],
    async_retry_seconds: tuple[float, float],
) -> None:
    """Run the Functions, Versions and Triggers of PATHS (YAML files or folders) on this machine, without a cluster.

    A changed handler or YAML file is live at the next call. What clients make by the management API is there until
    Ctrl-C, which ends everything.
    """
    if not paths and not management:
        raise click.UsageError("Missing argument 'PATHS...': without the management API there would be no functions.")
    from funclet.local.house import LocalSettings, run  # the roles are loaded only when they are wanted

    settings = LocalSettings(
        paths=list(paths),
        port=port,
        nats_url=nats_url,
        pool_size=pool_size,
        management=management,
        writable=writable,
        async_retry_seconds=async_retry_seconds,
    )
    try:
        uvloop.run(run(settings))
    except KeyboardInterrupt:
        click.echo("Funclet has ended.", err=True)
    except (FuncletError, OSError) as error:
        click.echo(f"funclet local: {error}", err=True)
        sys.exit(1)
