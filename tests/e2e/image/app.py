"""The function of test_images.py: does what its event says."""

import os
import time
from typing import Any


def handler(event: dict[str, Any], context: Any) -> Any:
    match event.get("do"):
        case "sleep":
            time.sleep(600)
        case "exit":
            os._exit(3)
        case "eat":
            eaten = []
            while True:
                eaten.append(bytearray(os.urandom(1 << 20)))
        case "write":
            with open(event["to"], "w") as file:
                file.write("x")
        case "look":
            return {"variables": dict(os.environ), "folder": os.getcwd(), "user": os.getuid()}
    return "in time"


def other(event: dict[str, Any], context: Any) -> str:
    return f"the other one of {context.function_name}"
