"""The handler: it greets whom the path names."""

from typing import Any

from words import greeting


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    who = event.get("pathParameters", {}).get("who", "World")
    return {"statusCode": 200, "body": greeting(who)}
