"""Active hours: the part of each day, by the clock on the wall of one time zone, in which a mapping is awake.

The wall clock decides, so a day on which it jumps is no special case: hours that begin in the hour that is skipped
begin when the clock has jumped over it, and hours inside the hour that comes twice are active twice.
What may not live here: reading a clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00)")
_RANGE = re.compile(r"\s*([0-9:]+)\s*-\s*([0-9:]+)\s*")


@dataclass(frozen=True, slots=True)
class Hours:
    """Active from `start_min` until before `end_min` (minutes after midnight), on `days` (0 is Monday).

    An end at or before the start is on the next day; that night belongs to the day it began on.
    """

    start_min: int
    end_min: int
    days: frozenset[int] = frozenset(range(7))
    zone: tzinfo = UTC

    def active(self, at: datetime) -> bool:
        local = at.astimezone(self.zone)
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.start_min < self.end_min:
            return self.start_min <= minute < self.end_min and today in self.days
        if minute >= self.start_min:
            return today in self.days
        return minute < self.end_min and (today - 1) % 7 in self.days

    def local(self, at: datetime) -> str:
        """The time for people, e.g. `Mon 14:05 Europe/London`."""
        local = at.astimezone(self.zone)
        return f"{DAYS[local.weekday()].capitalize()} {local:%H:%M} {self.zone}"

    def __str__(self) -> str:
        days = "" if len(self.days) == 7 else " on " + ", ".join(DAYS[day] for day in sorted(self.days))
        return f"{clock(self.start_min)}-{clock(self.end_min)}{days} ({self.zone})"


def clock(minute: int) -> str:
    """Minutes after midnight as people write them."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def parse_time(text: str) -> int:
    """The minutes after midnight of `22:00`; ValueError when it is no time. `24:00` is the end of a day."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time of day; write one such as 07:30 or 22:00")
    hour, minute = (part for part in found.groups() if part is not None)
    return int(hour) * 60 + int(minute)


def parse_range(text: str) -> tuple[int, int]:
    """Start and end of `22:00-06:00` in minutes after midnight; ValueError when it is no range."""
    found = _RANGE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a range of hours; write one such as 22:00-06:00")
    start, end = parse_time(found[1]), parse_time(found[2])
    check_range(start, end)
    return start, end


def check_range(start_min: int, end_min: int) -> None:
    """ValueError for hours that begin at the end of a day, or begin and end at the same time."""
    if start_min == 1440:
        raise ValueError("hours cannot begin at 24:00; write 00:00")
    if start_min == end_min:
        raise ValueError("begins and ends at the same time; for a whole day write 00:00-24:00")


def parse_days(text: str) -> frozenset[int]:
    """The days of `sat` or `mon-fri`; ValueError when it is none."""
    first, dash, last = text.lower().partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise ValueError(f"{text!r} is not a day; write {', '.join(DAYS)} or a range such as mon-fri")
    start = DAYS.index(first)
    length = (DAYS.index(last) - start) % 7 if dash else 0
    return frozenset((start + day) % 7 for day in range(length + 1))


def time_zone(name: str) -> tzinfo:
    """The zone of a name such as Europe/London; ValueError when it is not known here."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone known here; write one such as Europe/London or UTC") from error
