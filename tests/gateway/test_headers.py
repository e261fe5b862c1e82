"""Which header fields travel."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from bridge.gateway.headers import UnsendableHeader, to_client, to_function


def sent(**fields: str) -> CIMultiDict[str]:
    given = CIMultiDict({name.replace("_", "-"): value for name, value in fields.items()})
    return to_function(given, client="10.0.0.7", host="pi:8080", call_id="c", start_ns=5)


def test_hop_by_hop_fields_and_those_that_connection_names_stay_behind() -> None:
    found = sent(Connection="close, X-Private", X_Private="1", Keep_Alive="5", TE="trailers", Upgrade="h2c", X_Kept="2")
    assert dict(found) == {
        "X-Kept": "2",
        "X-Forwarded-For": "10.0.0.7",
        "X-Forwarded-Host": "pi:8080",
        "X-Call-Id": "c",
        "X-Start-Time": "5",
    }


def test_forwarded_fields_that_a_proxy_set_are_kept() -> None:
    found = sent(X_Forwarded_For="1.2.3.4", X_Forwarded_Host="example.org")
    assert (found["X-Forwarded-For"], found["X-Forwarded-Host"]) == ("1.2.3.4", "example.org")


def test_repeated_fields_stay_repeated_in_their_order() -> None:
    given = CIMultiDict([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    assert to_client(given, call_id="c", start_ns=1, served_by="s").getall("set-cookie") == ["a=1", "b=2"]


def test_a_function_cannot_speak_as_the_gateway() -> None:
    found = to_client(
        CIMultiDict({"X-OpenFaaS-Internal": "gateway", "X-Served-By": "me", "X-Call-Id": "other"}),
        call_id="c",
        start_ns=1,
        served_by="us",
    )
    assert dict(found) == {"X-Call-Id": "c", "X-Start-Time": "1", "X-Served-By": "us"}


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UnsendableHeader, match="X-Odd"):
        sent(X_Odd=b"\xe9".decode("utf-8", "surrogateescape"))
