"""What is deployed, kept in the state folder: one JSON file per function, so that a restart brings everything back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from bridge.errors import FunctionError
from bridge.gateway.backends.local.files import write_whole
from bridge.openfaas.deployment import Deployment, parse_deployment
from bridge.service import make_folder

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """One function as it was last wanted.

    `stack` is the fingerprint of the stack file's entry that it came from, None for one that a client deployed: the
    file is applied again only where its entry has changed, so that it does not undo what a client did since.
    """

    deployment: Deployment
    replicas: int
    created_at: datetime
    stack: str | None = None


class Records:
    """The files of one folder; a file that cannot be read is set aside and reported, never taken for nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.broken: list[str] = []

    def load(self) -> dict[str, Record]:
        """Everything that is kept, by name."""
        make_folder(self._folder, mode=0o700)
        found: dict[str, Record] = {}
        for path in sorted(self._folder.glob("*.json")):
            try:
                record = _parse(orjson.loads(path.read_bytes()))
            except (ValueError, KeyError, TypeError, FunctionError) as error:
                aside = path.with_suffix(".broken")
                path.replace(aside)
                self.broken.append(f"{aside}: {error}")
                _log.error("A kept deployment is unreadable", extra={"op": "restore", "file": str(aside)})
                continue
            found[record.deployment.service] = record
        return found

    def save(self, record: Record, *, durable: bool = True) -> None:
        """Keep one function."""
        document: Mapping[str, Any] = {
            "version": 1,
            "deployment": record.deployment.document(),
            "replicas": record.replicas,
            "created_at": record.created_at.isoformat(),
            "stack": record.stack,
        }
        write_whole(self._path(record.deployment.service), orjson.dumps(document), durable=durable)

    def forget(self, name: str) -> None:
        """Forget one function."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _parse(document: Any) -> Record:
    if document["version"] != 1:
        raise ValueError(f"version {document['version']!r} is not known")
    created_at = datetime.fromisoformat(document["created_at"])
    return Record(
        parse_deployment(document["deployment"]),
        int(document["replicas"]),
        created_at.astimezone(UTC),
        document["stack"],
    )
