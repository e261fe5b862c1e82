"""Tells about the machine it runs on: name, platform, processors, load, memory, uptime and temperature.

Call it a few times with several replicas and see the cluster take turns. It answers as text for people; as JSON when the
address ends in `?format=json` or the caller's `Accept` header asks for `application/json`. Linux tells all of this in small
files under `/proc` and `/sys`; a file that is missing (not every machine has a thermometer) leaves its line out.
"""

import os
import platform
from pathlib import Path


def handle(event, context):
    info = node_info(context.hostname)
    if event.query.get("format") == "json" or "application/json" in event.headers.get("accept", ""):
        return {"statusCode": 200, "body": info, "headers": {"Content-Type": "application/json"}}
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in info.items()]
    return {
        "statusCode": 200,
        "body": "\n".join(lines) + "\n",
        "headers": {"Content-Type": "text/plain; charset=utf-8"},
    }


def node_info(hostname: str) -> dict:
    memory = memory_bytes()
    info = {
        "hostname": hostname,
        "platform": platform.platform(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "memory_total_bytes": memory.get("MemTotal"),
        "memory_available_bytes": memory.get("MemAvailable"),
        "uptime_s": uptime_s(),
        "cpu_temperature_c": cpu_temperature_c(),
    }
    return {name: value for name, value in info.items() if value is not None}


def memory_bytes() -> dict:
    """/proc/meminfo has lines such as `MemTotal:  3884072 kB`."""
    sizes = {}
    for line in read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith(" kB"):
            sizes[name] = int(rest.removesuffix(" kB")) * 1024
    return sizes


def uptime_s():
    words = read("/proc/uptime").split()
    return round(float(words[0])) if words else None


def cpu_temperature_c():
    """The first thermal zone is the processor's on a Pi; it tells thousandths of a degree."""
    text = read("/sys/class/thermal/thermal_zone0/temp").strip()
    return round(int(text) / 1000, 1) if text else None


def read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
