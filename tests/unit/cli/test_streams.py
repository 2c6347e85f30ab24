import errno
import os
from io import TextIOWrapper

import pytest

from worker.cli.streams import LastingStream


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


def test_a_full_disk_is_not_dropped() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this machine has no /dev/full")
    stream = TextIOWrapper(open("/dev/full", "wb", buffering=0), write_through=True)  # noqa: SIM115
    with pytest.raises(OSError) as caught:
        LastingStream(stream).write("line\n")
    assert caught.value.errno == errno.ENOSPC
    stream.detach().close()
