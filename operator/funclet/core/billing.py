"""What an invocation costs: billed milliseconds and GB-seconds, as AWS Lambda bills them."""

MIB_PER_GIB = 1024


def billed_ms(duration_us: int, init_us: int = 0) -> int:
    """Whole milliseconds, rounded up, at least 1; the init phase is billed with the invocation that waited for it.

    1,000 µs are 1 ms, 1,001 µs are 2 ms, 0 µs are 1 ms.
    """
    return -(-(duration_us + init_us) // 1000) or 1


def gb_seconds(memory_mib: int, milliseconds: int) -> float:
    """Memory size times billed duration. 1,024 MiB for 1,000 ms are 1 GB-second (AWS's GB is a GiB)."""
    return memory_mib * milliseconds / (MIB_PER_GIB * 1000)
