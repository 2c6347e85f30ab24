import os

import pytest

from worker.cli.terminal import LastingStream


def test_text_that_nobody_reads_is_dropped_and_the_writer_goes_on() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        lasting = LastingStream(stream)
        for _ in range(3):
            assert lasting.write("line\n" * 10_000) == 50_000
            lasting.flush()


def test_text_that_is_read_arrives() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader) as read:
        lasting = LastingStream(stream)
        lasting.write("one\n")
        lasting.flush()
        assert read.readline() == "one\n"


def test_a_full_disk_is_told_once_and_the_writer_goes_on() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this machine has no /dev/full")
    told: list[str] = []
    with open("/dev/full", "w") as stream:
        lasting = LastingStream(stream, told.append)
        for _ in range(3):
            assert lasting.write("line\n") == 5
            lasting.flush()
    assert told == ["/dev/full: No space left on device"]
    assert lasting.is_cut


def test_a_reader_that_has_gone_is_not_told_of() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    told: list[str] = []
    with os.fdopen(writer, "w") as stream:
        lasting = LastingStream(stream, told.append)
        lasting.write("line\n")
        lasting.flush()
    assert (told, lasting.is_cut) == ([], False)
