"""Finds the handler function: `module.function`, `package/module.function`, `package.module.function`."""

import sys
import time
from collections.abc import Callable
from typing import Any

from funclet_agent.failures import Failure, InitError, exception_failure, failure, syntax_failure
from funclet_agent.logs import InvocationLog
from funclet_agent.state import FAILED, SUCCEEDED, State

Handler = Callable[[Any, Any], Any]


class Init:
    """How an init phase ended: either with the handler or with the failure that every caller gets."""

    def __init__(self, handler: Handler | None, failure: Failure | None, duration_us: int) -> None:
        self.handler = handler
        self.failure = failure
        self.duration_us = duration_us


def initialise(name: str, state: State, log: InvocationLog) -> Init:
    """Import the handler; says in the shared state, and in the log when it fails, how that ended."""
    started = time.monotonic_ns()
    handler: Handler | None = None
    failed: Failure | None = None
    try:
        handler = load_handler(name)
    except InitError as error:
        failed = error.failure
        log.write_failure(failed)
    duration_us = max(1, (time.monotonic_ns() - started) // 1000)
    state.end_init(SUCCEEDED if handler else FAILED, duration_us)
    return Init(handler, failed, duration_us)


def load_handler(name: str) -> Handler:
    """Import the handler's module and take the function from it; InitError holds Lambda's error otherwise."""
    path, dot, function = name.rpartition(".")
    if not dot:
        message = f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)"
        raise InitError(failure("Runtime.MalformedHandlerName", message))
    module = path.replace("/", ".")
    if module in sys.builtin_module_names:
        message = f"Cannot use built-in module {path} as a handler module"
        raise InitError(failure("Runtime.BuiltInModuleConflict", message))
    return _function_of(_import(module), path, function)


def _import(module: str) -> Any:
    try:
        __import__(module)
    except ImportError as error:
        message = f"Unable to import module '{module}': {error}"
        raise InitError(failure("Runtime.ImportModuleError", message)) from error
    except SyntaxError as error:
        raise InitError(syntax_failure(module, error)) from error
    except Exception as error:
        raise InitError(exception_failure(error)) from error
    return sys.modules[module]


def _function_of(module: Any, path: str, function: str) -> Handler:
    found = getattr(module, function, None)
    if found is None:
        raise InitError(failure("Runtime.HandlerNotFound", f"Handler '{function}' missing on module '{path}'"))
    return found  # type: ignore[no-any-return]


def rehearse() -> None:
    """Compile something while nobody waits. With the first source that it compiles, a Python makes the types of its
    syntax trees: a millisecond of each cold start that the processes forked later do without.
    """
    compile("def handler(event, context):\n    return event['key']\n", "<rehearsal>", "exec")
