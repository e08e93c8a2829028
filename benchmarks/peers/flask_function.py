"""The trivial handler, as functions-framework wants it."""

import functions_framework


@functions_framework.http
def handler(request):  # type: ignore[no-untyped-def]
    return {"statusCode": 200, "body": "Hello, " + request.get_json()["name"]}
