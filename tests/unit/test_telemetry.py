import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import SecretStr

from tests.unit.installing.making import claimed_item
from worker.domain.rows import NewAccount
from worker.telemetry import SILENCED, configure_logging, get_logger


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    levels = {name: logging.getLogger(name).level for name in SILENCED}
    stream = io.StringIO()
    configure_logging(stream)
    yield stream
    structlog.reset_defaults()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def events(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_event_is_one_line_of_json_with_its_fields(out: io.StringIO):
    get_logger().warning("items_rescued", items=3)
    [event] = events(out)
    assert str(event.pop("timestamp")).endswith("Z")
    assert event == {"event": "items_rescued", "level": "warning", "items": 3}


def test_a_logger_made_before_the_setting_up_writes_to_the_stream_too():
    early = get_logger()
    stream = io.StringIO()
    configure_logging(stream)
    early.info("started")
    structlog.reset_defaults()
    assert json.loads(stream.getvalue())["event"] == "started"


def test_a_text_with_line_breaks_stays_on_one_line(out: io.StringIO):
    get_logger().info("odd", text="a\nb\r\u2028c")
    assert len(out.getvalue().splitlines()) == 1


def test_events_below_the_level_are_dropped(out: io.StringIO):
    get_logger().debug("detail")
    assert out.getvalue() == ""


def test_what_holds_secrets_shows_none_when_it_is_logged(out: io.StringIO):
    item = claimed_item(account=NewAccount("Ann"), secrets={"api_key": "hunter2"})
    get_logger().info("odd", item=item, key=SecretStr("hunter2"))
    assert "hunter2" not in out.getvalue()


@pytest.mark.parametrize("name", ["httpx", "httpcore", "aiohttp", "asyncio", "kombu"])
def test_libraries_that_would_name_urls_are_held_at_warnings(out: io.StringIO, name: str):
    assert not logging.getLogger(name).isEnabledFor(logging.INFO)
    assert logging.getLogger(name).isEnabledFor(logging.WARNING)


def test_what_a_library_logs_is_an_event_once_a_minute(out: io.StringIO):
    for _ in range(3):
        logging.getLogger("some.library").warning("it is %s, %s\nand more", "late", ValueError("hunter2"))
        logging.getLogger("some.library").warning("another thing")
    [first, second] = events(out)
    assert (first["event"], first["level"], first["logger"]) == ("library_said", "warning", "some.library")
    assert (first["message"], second["message"]) == ("it is late, ValueError", "another thing")
    assert "hunter2" not in out.getvalue()


def test_a_library_that_logs_an_error_is_told_by_its_class_and_place_alone(out: io.StringIO):
    try:
        raise ValueError("hunter2")
    except ValueError:
        logging.getLogger("some.library").exception("it failed with %s", "hunter2")
    [event] = events(out)
    assert (event["message"], event["error"]) == ("it failed with %s", "ValueError")
    assert str(event["where"]).startswith("['test_telemetry.py:")
    assert "hunter2" not in out.getvalue()


def test_libraries_write_where_the_log_was_set_up_last(out: io.StringIO):
    second = io.StringIO()
    configure_logging(second)
    logging.getLogger("some.library").warning("late")
    assert out.getvalue() == ""
    assert len(events(second)) == 1
