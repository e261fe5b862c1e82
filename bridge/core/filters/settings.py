"""The checks that filters make of their settings, with messages for the person who wrote them."""

import math


def require_not_negative(owner: object, **settings: float) -> None:
    """Raise ValueError unless each setting is a finite number of at least 0."""
    for name, value in settings.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{type(owner).__name__}: {name} must be a finite number of at least 0, not {value}")


def require_positive(owner: object, **settings: float) -> None:
    """Raise ValueError unless each setting is a finite number above 0."""
    for name, value in settings.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{type(owner).__name__}: {name} must be a finite number above 0, not {value}")


def require_finite(owner: object, **settings: float) -> None:
    """Raise ValueError unless each setting is a finite number."""
    for name, value in settings.items():
        if not math.isfinite(value):
            raise ValueError(f"{type(owner).__name__}: {name} must be a finite number, not {value}")


def require_count(owner: object, *, minimum: int, **settings: int) -> None:
    """Raise ValueError unless each setting is a whole number of at least `minimum`."""
    for name, value in settings.items():
        if value < minimum:
            raise ValueError(
                f"{type(owner).__name__}: {name} must be a whole number of at least {minimum}, not {value}"
            )
