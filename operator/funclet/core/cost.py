"""What an invocation would cost on AWS (https://aws.amazon.com/lambda/pricing/, x86, us-east-1, first tier)."""

USD_PER_GB_SECOND = 0.0000166667
USD_PER_REQUEST = 0.20 / 1_000_000


def invocation_cost_usd(gb_seconds: float, requests: int = 1) -> float:
    """Price in US dollars, without the free tier.

    >>> round(invocation_cost_usd(1.0), 7)
    1.69e-05
    """
    return gb_seconds * USD_PER_GB_SECOND + requests * USD_PER_REQUEST
