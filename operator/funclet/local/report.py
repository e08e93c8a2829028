"""What `funclet local` says to the person in front of it, on standard error: problems, changes, log lines."""

import shutil
import sys
from typing import Any

import click

from funclet.adapters.catalog import Catalog
from funclet.adapters.instances.machine_runtimes import find_difference
from funclet.adapters.instances.processes import find_interpreter
from funclet.adapters.resources import DELETED, Resources
from funclet.api.meta import Condition
from funclet.api.trigger import Trigger
from funclet.core.revision import Revision


class Report:
    """Tells each thing once, in one line."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._colour = sys.stderr.isatty() and shutil.get_terminal_size().columns > 0

    def problem(self, text: str) -> None:
        """A file that is wrong: where, and what must hold."""
        self._say(text, "red")

    def note(self, text: str) -> None:
        """Something that a user may want to know, once."""
        if text not in self._told:
            self._told.add(text)
            self._say(text, "yellow")

    def log_line(self, instance: str, line: str) -> None:
        """A line that an instance wrote."""
        self._say(f"{instance} | {line}", None)

    def follow(self, catalog: Catalog) -> None:
        """Tell of every change of Functions and Triggers."""
        catalog.on_function(self._function_changed)
        catalog.on_trigger(self._trigger_changed)

    async def follow_conditions(self, resources: Resources, kind: str) -> None:
        """Tell of the condition Ready of every Version or Alias, for ever."""
        told: dict[str, Condition | None] = {}
        async for event in resources.watch(kind):
            if event.type is DELETED and told.pop(event.key, None) is not None:
                self._say(f"{kind} {event.key} is gone", "yellow")
            for condition in event.object.get("status", {}).get("conditions", []):
                ready = Condition.model_validate(condition)
                if told.get(event.key) != ready:
                    self._say_ready(kind, event.key, ready, f": {ready.message}")
                told[event.key] = ready

    async def follow_refusals(self, resources: Resources) -> None:
        """Tell of every Function whose newest spec callers do not get, for ever."""
        told: dict[str, str] = {}
        async for event in resources.watch("Function"):
            problem = find_refusal(event.object)
            if problem and told.get(event.key) != problem:
                self._say(f"Function {event.key} is not ready: {problem}", "red")
            told[event.key] = problem

    def _function_changed(self, key: str, revision: Revision | None) -> None:
        if revision is None:
            self._say(f"Function {key} is gone", "yellow")
            return
        interpreter, exact = find_interpreter(revision.runtime)
        if not exact:
            self.note(f"{revision.runtime} is not on this machine: {interpreter} takes its place")
        if difference := find_difference(revision.runtime):
            self.note(difference)
        self._say(f"Function {key} is ready (revision {revision.revision})", "green")

    def _trigger_changed(self, key: str, trigger: Trigger | None) -> None:
        if trigger is None:
            self._say(f"Trigger {key} is gone", "yellow")
            return
        for condition in trigger.status.conditions:
            if condition.type == "Ready" and condition.reason != "FunctionNotReady":  # the Function's own line says why
                self._say_ready("Trigger", key, condition)

    def _say_ready(self, kind: str, key: str, ready: Condition, detail: str = "") -> None:
        holds = ready.status == "True"
        text = f"is ready{detail}" if holds else f"is not ready: {ready.reason}: {ready.message}"
        self._say(f"{kind} {key} {text}", "green" if holds else "red")

    def _say(self, text: str, colour: str | None) -> None:
        click.echo(click.style(text, fg=colour) if self._colour and colour else text, err=True)


def find_refusal(function: dict[str, Any]) -> str:
    """Reason and message of the condition Ready where it does not hold; empty where it does or nothing is known."""
    for condition in function.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready" and condition["status"] == "False":
            return f"{condition['reason']}: {condition['message']}"
    return ""
