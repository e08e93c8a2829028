"""The function of test_clients.py in Python, on awslambdaric."""

import os
import time
from typing import Any


def handle(event: Any, context: Any) -> Any:
    print("doing", event)
    if event == "fail":
        raise ValueError("bad value")
    if event == "exit":
        os._exit(3)
    if event == "sleep":
        time.sleep(60)
    return {
        "event": event,
        "request_id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "name": context.function_name,
        "memory_mib": int(context.memory_limit_in_mb),
        "custom": context.client_context.custom if context.client_context else None,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "remaining_ms": context.get_remaining_time_in_millis(),
    }
