"""NATS subjects: tokens between dots; in a pattern `*` is any one token, `>` at the end one or more.

https://docs.nats.io/nats-concepts/subjects#wildcards
"""


def matches(pattern: str, subject: str) -> bool:
    """Whether a pattern takes a subject.

    >>> matches("orders.*", "orders.new"), matches("orders.>", "orders.new.eu"), matches("orders.>", "orders")
    (True, True, False)
    """
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(given) <= len(wanted):
            return False
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(want in ("*", token) for want, token in zip(wanted, given, strict=True))


def has_wildcard(subject: str) -> bool:
    """Whether it is a pattern: nothing can be published to it."""
    return any(token in ("*", ">") for token in subject.split("."))
