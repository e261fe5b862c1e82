"""Filters stand between a sensor's readings and its events, and decide which readings are let through.

A filter holds immutable settings and a little state. Time is always an argument: monotonic seconds. `read(value, now)`
takes a reading, `wake(now)` takes only the passing of time; both answer with a `Step`: the values let through, the
readings refused, and when to call `wake` next. `Chain` makes one filter of several.

Good orders are, for levels: `WarmUp`, `Invert`, `Debounce`, then `Hold` or `DelayedOn`/`DelayedOff`; for numbers:
`Calibrate`, `Range`, `RateOfChange`, `Median` or `Average`, `Round`, then `Report`, `Threshold` or `Switch`. `Range`
comes before everything that compares or averages, because it refuses what is not a finite number.

Nothing in this package may read a clock, wait, log or do input or output.
"""

from bridge.core.filters.chain import Chain
from bridge.core.filters.digital import Debounce, DebounceMode, DelayedOff, DelayedOn, Hold, Invert, Level
from bridge.core.filters.plausibility import Range, RateOfChange
from bridge.core.filters.report import Report
from bridge.core.filters.smoothing import Average, Calibrate, Median, Round
from bridge.core.filters.step import Fault, FaultKind, Filter, Step
from bridge.core.filters.threshold import Band, Switch, Threshold
from bridge.core.filters.warm_up import WarmUp

__all__ = [
    "Average",
    "Band",
    "Calibrate",
    "Chain",
    "Debounce",
    "DebounceMode",
    "DelayedOff",
    "DelayedOn",
    "Fault",
    "FaultKind",
    "Filter",
    "Hold",
    "Invert",
    "Level",
    "Median",
    "Range",
    "RateOfChange",
    "Report",
    "Round",
    "Step",
    "Switch",
    "Threshold",
    "WarmUp",
]
