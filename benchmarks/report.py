"""The table of figures, in words: for the terminal and for docs/performance.md."""

from collections.abc import Sequence

from benchmarks.figure import Budget, Figure, Peer

COLUMNS = ("figure", "value", "budget", "measured beside it", "")


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 4
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def times(ratio: float) -> str:
    """Two significant digits are enough to compare."""
    return f"{ratio:,.0f} ×" if ratio >= 10 else f"{ratio:.2g} ×"


def value_text(figure: Figure) -> str:
    """The value with its unit."""
    return "not measured" if figure.value is None else f"{number(figure.value)} {figure.unit}".rstrip()


def budget_text(figure: Figure) -> str:
    """Both budgets: of the value, and of the ratio to the first peer."""
    texts = []
    if figure.budget is not None:
        texts.append(f"{_sign(figure.budget)} {number(figure.budget.limit)}")
    if figure.ratio_budget is not None and figure.peers:
        texts.append(f"{_sign(figure.ratio_budget)} {number(figure.ratio_budget.limit)} × {figure.peers[0].name}")
    return ", ".join(texts)


def beside_text(figure: Figure) -> str:
    """The peers with their values, and what this is of each."""
    words = [_peer_text(figure, peer) for peer in figure.peers]
    return "; ".join([*words, figure.why] if figure.why else words)


def _peer_text(figure: Figure, peer: Peer) -> str:
    if figure.unit == "×" and peer.value == 1:
        return peer.name  # the value is the ratio to it
    ratio = "" if figure.value is None or not peer.value else f" ({times(figure.value / peer.value)})"
    quoted = f" (quoted: {peer.source})" if peer.source else ""
    return f"{peer.name} {number(peer.value)}{ratio}{quoted}"


def _sign(budget: Budget) -> str:
    return "≥" if budget.at_least else "≤"


def verdict(figure: Figure) -> str:
    """One word a line."""
    if figure.value is None:
        return "not measured"
    return "ok" if figure.is_within else "over"


def rows(figures: Sequence[Figure]) -> list[tuple[str, str, str, str, str]]:
    """The table's cells."""
    return [(one.name, value_text(one), budget_text(one), beside_text(one), verdict(one)) for one in figures]


def markdown_table(figures: Sequence[Figure]) -> str:
    """For the documentation."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *((f"`{name}`", *cells) for name, *cells in rows(figures))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"
