"""CPU and memory as people write them for containers, to the numbers that Swarm takes. Pure.

Kubernetes' notation (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/), with one
exception: a small letter after a number of bytes means what Docker means by it, `20m` is 20 MiB. Kubernetes would take
it for a fiftieth of a byte, which nobody can want, and OpenFaaS' own examples write it.
"""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_CPU = re.compile(rf"({_NUMBER})(m?)")
_MEMORY = re.compile(rf"({_NUMBER})(?:[eE]([0-9]{{1,2}})|(k|K|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|b|m|g|t|kb|mb|gb|tb))?")

_DECIMAL = {letter: 1000**power for power, letter in enumerate("KMGTPE", 1)}
_BINARY = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", 1)}
_DOCKER = {letter: 1024**power for power, letter in enumerate("bkmgt")}
_FACTORS = {**_DECIMAL, **_BINARY, **_DOCKER, **{f"{letter}b": factor for letter, factor in _DOCKER.items()}, "": 1}

_LEAST_CPU_NANOS = 1_000_000
_LEAST_MEMORY_BYTES = 4 * 1024 * 1024
_MOST = 2**63 - 1


def cpu_nanos(text: str) -> int:
    """Billionths of a CPU: `100m` is a tenth, `0.5` a half. Raises ValueError; Swarm takes a thousandth or more."""
    match = _CPU.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no amount of CPU; write one such as 100m, 0.5 or 2")
    nanos = int(Fraction(match[1].rstrip(".")) * (1_000_000 if match[2] else 1_000_000_000))
    if nanos < _LEAST_CPU_NANOS:
        raise ValueError(f"{text[:40]!r} of a CPU is less than 1m, the least that can be given")
    if nanos > _MOST:
        raise ValueError(f"{text[:40]!r} CPUs are more than any machine has")
    return nanos


def memory_bytes(text: str) -> int:
    """Bytes: `5Mi` and `5m` are 5 MiB, `5M` is 5 MB. Raises ValueError; Swarm takes 4 MiB or more."""
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no amount of memory; write one such as 64Mi, 64m, 1Gi or 64000000")
    factor = 10 ** int(match[2]) if match[2] else _FACTORS[match[3] or ""]
    size = int(Fraction(match[1].rstrip(".")) * factor)
    if size < _LEAST_MEMORY_BYTES:
        raise ValueError(f"{text[:40]!r} of memory is less than 4Mi, the least that can be given")
    if size > _MOST:
        raise ValueError(f"{text[:40]!r} of memory is more than any machine has")
    return size


def cpu_text(nanos: int) -> str:
    """An amount of CPU as Kubernetes would write it: 500000000 -> `500m`."""
    if nanos % 1_000_000_000 and nanos % 1_000_000 == 0:
        return f"{nanos // 1_000_000}m"
    whole, rest = divmod(nanos, 1_000_000_000)
    return f"{whole}.{rest:09}".rstrip("0").rstrip(".")


def memory_text(size: int) -> str:
    """An amount of memory as Kubernetes would write it: 5242880 -> `5Mi`."""
    for unit in ("Gi", "Mi", "Ki"):
        if size and size % _BINARY[unit] == 0:
            return f"{size // _BINARY[unit]}{unit}"
    return str(size)
