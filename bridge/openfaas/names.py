"""Names of functions and their namespaces, as they stand in paths and documents. Pure.

A name in a path matches `[-a-zA-Z_0-9.]+`; what follows the last dot is a namespace. There is one namespace here, so
`name` and `name.openfaas-fn` are the same function, and a name with any other suffix belongs to no function.
"""

from __future__ import annotations

import re

NAMESPACE = "openfaas-fn"
"""The only namespace, OpenFaaS' default one."""

_IN_PATH = re.compile(r"[-a-zA-Z_0-9.]+")
_DEPLOYABLE = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z_0-9]{0,61}[a-zA-Z0-9])?")
_SECRET = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z_0-9.]{0,251}[a-zA-Z0-9])?")


def resolve(name: str, namespace: str = "") -> str | None:
    """The function meant by a name from a path and a `namespace` given beside it; None when it can be none."""
    if not _IN_PATH.fullmatch(name):
        return None
    bare, dot, suffix = name.rpartition(".")
    if not dot:
        bare = name
    elif suffix != NAMESPACE:
        return None
    if namespace not in ("", NAMESPACE) or not _DEPLOYABLE.fullmatch(bare):
        return None
    return bare


def complaint(service: str, namespace: str = "") -> str | None:
    """Why nothing can be deployed under this name, or None."""
    if namespace not in ("", NAMESPACE):
        return f"there is no namespace {namespace!r} here; leave it out or use {NAMESPACE}"
    if not service:
        return "service: the function's name is missing"
    if resolve(service) is None:
        return (
            f"service: {service!r} cannot be a function's name; use at most 63 letters, digits, hyphens and"
            " underscores, starting and ending with a letter or digit"
        )
    return None


def is_secret(name: str) -> bool:
    """Whether a secret may have this name; it becomes a file's name, so that no path can hide in it."""
    return bool(_SECRET.fullmatch(name)) and ".." not in name


def qualified(name: str) -> str:
    """The name with its namespace, as metrics carry it."""
    return f"{name}.{NAMESPACE}"
