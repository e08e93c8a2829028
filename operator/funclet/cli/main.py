"""The command line: `funclet local` runs functions without a cluster, `funclet invoke` calls one, and more."""

import click

from funclet.cli.dlq import dlq
from funclet.cli.invoke import invoke
from funclet.cli.result import result
from funclet.cli.run_local import local
from funclet.cli.simulate import simulate_command
from funclet.cli.usage import usage


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="funclet")
def main() -> None:
    """AWS-Lambda-style functions on Kubernetes, and on your own machine."""


main.add_command(local)
main.add_command(invoke)
main.add_command(result)
main.add_command(dlq)
main.add_command(simulate_command, "simulate")
main.add_command(usage)
