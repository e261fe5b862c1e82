"""Writes the tables of the reference pages anew: `scripts/docs`."""

from __future__ import annotations

from tests.docs.tables import PAGES, ROOT, filled


def main() -> None:
    """Rewrite the pages that have changed, and name them."""
    for name in PAGES:
        page = ROOT / name
        text = page.read_text(encoding="utf-8")
        fresh = filled(text)
        if fresh != text:
            page.write_text(fresh, encoding="utf-8")
            print(f"{name}: written")  # noqa: T201 - it speaks to people


if __name__ == "__main__":
    main()
