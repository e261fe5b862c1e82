"""The application behind the door: FastAPI, with problem documents for whatever goes wrong in it.

Loaded in a thread when it is first needed; nothing of it is imported with the program.
"""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from bridge import __version__
from bridge.manager.door import REQUEST_ID
from bridge.manager.problems import MEDIA_TYPE, Place, Refusal, problem

DESCRIPTION: Final = (
    "The manager of gpio-bridge. Errors are problem documents (RFC 9457): `detail` says what is wrong, `errors` where,"
    " and `request_id` finds it in the log."
)
_DETAILS: Final = {404: "there is nothing at this path", 405: "this method means nothing here"}


def make() -> FastAPI:
    """The application."""
    app = FastAPI(
        title="gpio-bridge manager",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # its pages are made of scripts from elsewhere
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Refusal, _refused)
    return app


def answer(request: Request, refusal: Refusal) -> Response:
    """The problem document of a refusal."""
    body = problem(refusal.status, str(refusal), request.scope[REQUEST_ID], refusal.errors)
    return Response(body, refusal.status, {"Content-Type": MEDIA_TYPE, **refusal.headers})


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return answer(request, error)


def _http(request: Request, error: Exception) -> Response:
    """What FastAPI itself refuses: a path or a method that is not there."""
    assert isinstance(error, HTTPException)
    detail = _DETAILS.get(error.status_code, str(error.detail))
    return answer(request, Refusal(error.status_code, detail, headers=dict(error.headers or {})))


def _invalid(request: Request, error: Exception) -> Response:
    """What is wrong with parameters: each with its name."""
    assert isinstance(error, RequestValidationError)
    places = [
        Place(f"{'/'.join(str(part) for part in one['loc'][1:])} ({one['loc'][0]}): {one['msg']}")
        for one in error.errors()
    ]
    return answer(request, Refusal(422, "; ".join(place.detail for place in places), errors=places))
