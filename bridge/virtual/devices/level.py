"""A digital level behind words, and a push button; both bounce when they are told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from bridge.virtual.contact import Contact, read_bounces
from bridge.virtual.devices.device import Change, NotAccepted, refusal
from bridge.virtual.factory import WiredPin

CLICK_S = 0.15
"""How long a click holds a button down: longer than every sensible debounce, shorter than a hold."""
MOST_BOUNCES_S = 1.0
"""How long a contact bounces at most when it is told by a word: other pins wait meanwhile."""

ON, OFF = ("on", "high", "true", "1"), ("off", "low", "false", "0")


class Level:
    """A digital level behind words: motion and still, break and restore, on and off. It bounces when it is told to."""

    def __init__(self, name: str, pin: WiredPin, words: Mapping[str, bool], *, active_high: bool) -> None:
        self.contact = Contact(name)
        self._pin = pin
        self._words = words
        self._active_high = active_high
        self._held = threading.Event()
        self.set(active=False)

    @property
    def accepts(self) -> tuple[str, ...]:
        return (*self._words, "bounce for TIME", *(f"{word} bouncing for TIME" for word in self._words))

    def set(self, *, active: bool) -> None:
        """Hold the pin at the level that means active, or at the other."""
        self.contact.move(active=active)
        self._pin.hold(high=active == self._active_high)

    def understand(self, value: str) -> Change:
        word = " ".join(value.lower().split())
        try:
            bounces = read_bounces(word)
        except ValueError as error:
            raise NotAccepted(f"does not know {value!r}: {error}") from None
        if bounces is None:
            active = self._active(word, value)
            return Change.at_once(lambda: self.set(active=active))
        end, over_s = bounces
        if over_s > MOST_BOUNCES_S:
            raise NotAccepted(f"bounces for at most {MOST_BOUNCES_S:g}s, not as {value!r} says")
        active = end is not None and self._active(end, value)
        return Change(lambda: self._bounce(over_s, active=active), lambda: self.set(active=active))

    def _bounce(self, over_s: float, *, active: bool) -> None:
        begun_s = time.monotonic()
        for edge in self.contact.bounces(over_s, active=active):
            self._held.wait(max(0.0, begun_s + edge.after_s - time.monotonic()))
            self.set(active=edge.active)

    def _active(self, word: str, value: str) -> bool:
        if word in self._words:
            return self._words[word]
        if word in ON or word in OFF:
            return word in ON
        raise refusal(value, self.accepts)


class PushButton(Level):
    """A push button, which can also be clicked."""

    def __init__(self, name: str, pin: WiredPin, *, active_high: bool) -> None:
        super().__init__(name, pin, {"press": True, "release": False}, active_high=active_high)

    @property
    def accepts(self) -> tuple[str, ...]:
        return (*super().accepts, "click")

    def understand(self, value: str) -> Change:
        if value.strip().lower() != "click":
            return super().understand(value)
        return Change(self._click, lambda: self.set(active=False))

    def _click(self) -> None:
        self.set(active=True)
        self._held.wait(CLICK_S)
        self.set(active=False)
