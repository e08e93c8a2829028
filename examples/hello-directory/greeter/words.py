"""A module beside the handler."""


def greeting(who: str) -> str:
    return f"Good day, {who}."
