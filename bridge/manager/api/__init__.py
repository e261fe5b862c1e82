"""The manager's HTTP API, one file a group of paths."""

from __future__ import annotations

from typing import Final

ROOT: Final = "/api/v1"
"""What the paths of all of them begin with."""
