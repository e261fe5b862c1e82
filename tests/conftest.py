"""What all tests share: Hypothesis runs the same examples every time, and a slow machine fails nobody."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("everywhere", deadline=None, derandomize=True)
settings.load_profile("everywhere")

pytest_plugins = ("tests.lab.fixtures",)
