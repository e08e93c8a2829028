"""The two tokens of an instance, derived from its name, so that a restarted scaler can derive them again."""

import hashlib
import hmac


def specialise_token(secret: str, instance: str) -> str:
    """What opens the agent's port: the scaler alone has it."""
    return _derive(secret, f"specialise:{instance}")


def invoke_token(secret: str, instance: str) -> str:
    """What opens the instance's slots: the gateways get it in the feed."""
    return _derive(secret, f"invoke:{instance}")


def token_digest(token: str) -> str:
    """What the instance itself is given: enough to check a token, too little to make one."""
    return hashlib.sha256(token.encode()).hexdigest()


def _derive(secret: str, purpose: str) -> str:
    return hmac.new(secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()
