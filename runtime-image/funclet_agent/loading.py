"""Finds the handler function: `module.function`, `package/module.function`, `package.module.function`."""

import sys
from collections.abc import Callable
from typing import Any

from funclet_agent.failures import InitError, exception_failure, failure, syntax_failure

Handler = Callable[[Any, Any], Any]


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
