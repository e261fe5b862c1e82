"""What the API says when it refuses: problem documents (RFC 9457)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import orjson

from bridge.errors import BridgeError

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Place:
    """One mistake in what was sent: what is wrong, and where, as a JSON pointer (RFC 6901) or as line and column."""

    detail: str
    pointer: str | None = None
    line: int | None = None
    column: int | None = None

    def document(self) -> dict[str, Any]:
        """As it stands in `errors`; what is not known is left out."""
        found = {"detail": self.detail, "pointer": self.pointer, "line": self.line, "column": self.column}
        return {key: value for key, value in found.items() if value is not None}


class Refusal(BridgeError):
    """The request ends with a problem; the message is its `detail`."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Iterable[Place] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.errors = tuple(errors)


def problem(status: int, detail: str, request_id: str, errors: Iterable[Place] = ()) -> bytes:
    """The document. Its type is `about:blank`: the status says what kind it is, `detail` what happened here."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    places = [place.document() for place in errors]
    if places:
        document["errors"] = places
    return orjson.dumps(document)
