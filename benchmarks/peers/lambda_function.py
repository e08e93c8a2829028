"""The trivial handler, as AWS's runtime client wants it."""


def handler(event: dict[str, str], context: object) -> dict[str, object]:
    return {"statusCode": 200, "body": "Hello, " + event["name"]}
