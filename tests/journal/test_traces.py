"""The ring of trace files: bounded, surviving restarts and kills, and never more than a nuisance."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from bridge.journal.traces import SEGMENTS, TraceFiles, first, search

MAX_BYTES = 64 * 1024


def line(*values: object) -> bytes:
    return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)


def everything(files: TraceFiles) -> list[list[object]]:
    return [orjson.loads(text) for path in files.segments() for text in path.read_bytes().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "traces"


def test_lines_come_back_in_the_order_they_were_written(folder: Path) -> None:
    files = TraceFiles(folder, MAX_BYTES)
    for number in range(3):
        files.append(line(number, "front-door"))
    (segment,) = files.segments()
    assert search(segment, "front-door") == [[0, "front-door"], [1, "front-door"], [2, "front-door"]]
    assert first(segment) == [0, "front-door"]
    files.close()


def test_the_ring_never_grows_beyond_its_size_and_forgets_the_oldest(folder: Path) -> None:
    files = TraceFiles(folder, MAX_BYTES)
    for number in range(1000):
        files.append(line(number, "x" * 200))
        assert files.size_bytes <= MAX_BYTES
    on_disk = sum(path.stat().st_size for path in folder.iterdir())
    assert MAX_BYTES * (SEGMENTS - 2) / SEGMENTS < on_disk <= MAX_BYTES
    numbers = [found[0] for found in everything(files)]
    assert numbers == list(range(int(str(numbers[0])), 1000))
    files.close()


def test_a_restart_goes_on_where_the_earlier_life_stopped(folder: Path) -> None:
    for life in range(3):
        files = TraceFiles(folder, MAX_BYTES)
        files.append(line(life))
        files.close()
    assert everything(TraceFiles(folder, MAX_BYTES)) == [[0], [1], [2]]


def test_the_bound_holds_across_restarts_and_when_it_is_made_smaller(folder: Path) -> None:
    for number in range(400):
        files = TraceFiles(folder, MAX_BYTES)
        files.append(line(number, "x" * 300))
        files.close()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MAX_BYTES
    smaller = TraceFiles(folder, MAX_BYTES // 4)
    smaller.append(line("more"))
    assert smaller.size_bytes <= MAX_BYTES // 4
    smaller.close()


def test_a_line_that_a_kill_cut_is_skipped_and_spoils_nothing_after_it(folder: Path) -> None:
    files = TraceFiles(folder, MAX_BYTES)
    files.append(line("whole", "door"))
    files.append(line("cut", "door", "x" * 100))
    files.close()
    (segment,) = files.segments()
    segment.write_bytes(segment.read_bytes()[:-40])
    again = TraceFiles(folder, MAX_BYTES)
    again.append(line("after", "door"))
    assert search(segment, "door") == [["whole", "door"], ["after", "door"]]
    again.close()


def test_rubbish_in_a_file_is_skipped(folder: Path) -> None:
    folder.mkdir()
    segment = folder / "00000001.jsonl"
    segment.write_bytes(b'\x00\xff "door"\n{"an": "object", "with": "door"}\n' + line("door"))
    assert search(segment, "door") == [["door"]]
    assert first(segment) == ["door"]


def test_a_search_finds_whole_values_only_and_asks_about_a_line_before_it_is_read(folder: Path) -> None:
    files = TraceFiles(folder, MAX_BYTES)
    files.append(line("door", "open"))
    files.append(line("door-2", 'the "door"'))
    files.append(line("door", "shut"))
    (segment,) = files.segments()
    assert search(segment, "door") == [["door", "open"], ["door", "shut"]]
    assert search(segment, "door", lambda found: b"shut" in found) == [["door", "shut"]]
    files.close()


def test_a_file_that_has_gone_holds_nothing(folder: Path) -> None:
    assert search(folder / "00000001.jsonl", "door") == []
    assert first(folder / "00000001.jsonl") is None
    assert TraceFiles(folder, MAX_BYTES).segments() == []


def test_other_files_in_the_folder_are_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    files = TraceFiles(folder, MAX_BYTES)
    for number in range(1000):
        files.append(line(number, "x" * 200))
    assert (folder / "notes.txt").read_text() == "mine"
    files.close()


def test_a_full_disk_is_an_error_each_time_and_over_when_there_is_room_again(folder: Path) -> None:
    folder.mkdir()
    full = folder / "00000001.jsonl"
    full.symlink_to("/dev/full")
    files = TraceFiles(folder, MAX_BYTES)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            files.append(line("lost"))
    full.unlink()
    files.append(line("kept"))
    assert everything(files) == [["kept"]]
    files.close()


def test_a_folder_that_cannot_be_made_is_an_error_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    files = TraceFiles(tmp_path / "file" / "traces", MAX_BYTES)
    with pytest.raises(OSError, match="Not a directory"):
        files.append(line("lost"))
    files.close()


def test_files_that_somebody_removed_are_begun_anew_with_the_next_segment(folder: Path) -> None:
    files = TraceFiles(folder, MAX_BYTES)
    files.append(line("gone"))
    for path in folder.iterdir():
        path.unlink()
    for number in range(200):
        files.append(line(number, "x" * 200))
    assert everything(files)[-1][0] == 199
    files.close()
