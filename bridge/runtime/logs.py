"""The log of a function process: lines on stderr, as text for people or as JSON for machines."""

import json
import logging
import sys
import time
from contextvars import ContextVar

call_id: ContextVar[str] = ContextVar("call_id", default="")
"""The call that the current task or handler thread works for; every log line carries it."""

_USUAL = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message", "asctime", "taskName"}


def configure(log_format: str, level: str) -> None:
    """Send all logging, the function's own included, to stderr; `auto` means text on a terminal, else JSON."""
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextLines() if as_text else JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # asyncio tells at debug level which selector it uses; nobody asked.
    logging.getLogger("asyncio").setLevel(logging.WARNING)


class _Lines(logging.Formatter):
    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        """What the record says beyond its text."""
        found = {key: value for key, value in record.__dict__.items() if key not in _USUAL}
        current = call_id.get()
        return {"call_id": current, **found} if current else found

    def when(self, record: logging.LogRecord) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"

    def trace(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info else ""


class TextLines(_Lines):
    """`time LEVEL text key=value ...`, and a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        parts = [self.when(record), record.levelname, record.getMessage()]
        parts += [f"{key}={value}" for key, value in self.fields(record).items()]
        trace = self.trace(record)
        return " ".join(parts) + (f"\n{trace}" if trace else "")


class JsonLines(_Lines):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as JSON."""
        line: dict[str, object] = {
            "time": self.when(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self.fields(record),
        }
        trace = self.trace(record)
        if trace:
            line["traceback"] = trace
        return json.dumps(line, default=str)
