"""How numbers are written for people."""


def amount(number: int, what: str) -> str:
    """Write a number with what it counts: 1 message, 2,000 messages."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
