"""Python's logging as Lambda configures it, once the function imports it and not before: it costs 5 ms and 2 MiB."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from logging import LogRecord

TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"
"""Both as awslambdaric has them."""


class LoggingFinder:
    """Stands first on sys.meta_path until `logging` is imported, then configures it and is gone."""

    def __init__(self, log_format: str, request_id: Callable[[], str]) -> None:
        self._log_format = log_format
        self._request_id = request_id

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec that the other finders give, with a loader that configures what it has loaded."""
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                self._extend(spec.loader)
                return spec
        return None

    def _extend(self, loader: Any) -> None:
        load = loader.exec_module

        def load_and_configure(module: Any) -> None:
            load(module)
            configure(module, self._log_format, self._request_id)

        loader.exec_module = load_and_configure


def configure(logging: Any, log_format: str, request_id: Callable[[], str]) -> None:
    """One handler at the root logger, which writes to standard output."""

    def add_request_id(record: LogRecord) -> bool:
        record.aws_request_id = request_id()
        return True

    def format_json(record: LogRecord) -> str:
        return json.dumps(_json_record(record, formatter))

    formatter = logging.Formatter(TEXT_FORMAT, TIME_FORMAT)
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(add_request_id)
    handler.setFormatter(formatter)
    if log_format.upper() == "JSON":
        handler.format = format_json
    logging.root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO" if log_format.upper() == "JSON" else "WARNING").upper()
    logging.root.setLevel({"TRACE": "DEBUG", "FATAL": "CRITICAL", "WARN": "WARNING"}.get(level, level))


def _json_record(record: LogRecord, formatter: Any) -> dict[str, object]:
    """The fields that awslambdaric writes with log_format JSON."""
    line: dict[str, object] = {
        "timestamp": formatter.formatTime(record, TIME_FORMAT) + "Z",
        "level": record.levelname,
        "message": record.getMessage(),
        "logger": record.name,
        "requestId": getattr(record, "aws_request_id", ""),
    }
    if record.exc_info:
        line["stackTrace"] = formatter.formatException(record.exc_info).split("\n")
    return line


def install(log_format: str, request_id: Callable[[], str]) -> None:
    """Configure logging when the function first imports it."""
    sys.meta_path.insert(0, LoggingFinder(log_format, request_id))
