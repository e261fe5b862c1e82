"""`gpio-bridge tokens`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

from bridge.cli import exit_codes
from tests.cli.conftest import Command


def test_a_token_is_made_listed_and_revoked(command: Command, tmp_path: Path) -> None:
    config = tmp_path / "manager.yaml"
    config.write_text("version: 1\nmappings: mappings.yaml\nstate_dir: state\n", encoding="utf-8")
    with_config = ("--config", str(config))
    assert command("tokens", "list", *with_config).stdout == "there are no tokens\n"
    made = command("tokens", "create", "anna", "--role", "operator", *with_config)
    assert made.returncode == exit_codes.OK
    assert made.stdout.startswith("gpb_")
    again = command("tokens", "create", "anna", *with_config)
    assert (again.returncode, again.stderr) == (
        exit_codes.FAILED,
        "gpio-bridge: there is a token anna already; revoke it first, or choose another name\n",
    )
    (shown,) = json.loads(command("tokens", "list", "--json", *with_config).stdout)
    assert (shown["name"], shown["role"], "digest" in shown) == ("anna", "operator", False)
    assert "is revoked" in command("tokens", "revoke", "anna", *with_config).stdout
    (head, row) = command("tokens", "list", *with_config).stdout.splitlines()
    assert head.split() == ["NAME", "ROLE", "ID", "CREATED", "REVOKED"]
    assert len(row.split()) == 5


def test_without_a_manager_it_says_what_to_do(command: Command) -> None:
    refused = command("tokens", "list")
    assert refused.returncode == exit_codes.USAGE
    assert "gpio-bridge up" in refused.stderr
