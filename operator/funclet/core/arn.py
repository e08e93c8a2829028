"""Function ARNs: `arn:aws:lambda:{region}:{account}:function:{name}`, where a namespace stands for an account."""

import hashlib

DEFAULT_NAMESPACE = "default"
DEFAULT_ACCOUNT = "000000000000"


def account_id(namespace: str) -> str:
    """The twelve digits that stand for a namespace: twelve zeroes for `default`, never a leading 0 for others."""
    if namespace == DEFAULT_NAMESPACE:
        return DEFAULT_ACCOUNT
    number = int.from_bytes(hashlib.sha256(namespace.encode()).digest()[:8])
    return str(100_000_000_000 + number % 900_000_000_000)


def function_arn(region: str, namespace: str, name: str, qualifier: str | None = None) -> str:
    """The ARN of a function; with a qualifier, of the version or alias."""
    suffix = f":{qualifier}" if qualifier else ""
    return f"arn:aws:lambda:{region}:{account_id(namespace)}:function:{name}{suffix}"
