"""The same order as in examples/go, examples/java and examples/rust."""


def handler(event, context):
    total = event["count"] * event["price"]
    return f"{event['count']} × {event['item']}: {total:.2f}"
