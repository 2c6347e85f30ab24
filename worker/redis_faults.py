"""Why Redis could not be used, in one short text: the same in logs, messages and pages."""

import re
import socket
import ssl

from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import MaxConnectionsError, RedisError
from redis.exceptions import TimeoutError as NoAnswerInTime

from worker.domain.server_faults import KNOWN, Server, ServerFault, chain_of, sentence

# As redis-py puts an answer of a pipeline, and a Redis before 7 one that a script was given.
_OF_A_PIPELINE = re.compile(r"^Command # \d+ \(.*?\) of pipeline caused error: ", re.DOTALL)
_OF_A_SCRIPT = re.compile(r"^Error running script .*?-([A-Z]+) ", re.DOTALL)
# Behind what it says to a command of a script: which one, and its line.
_IN_A_SCRIPT = re.compile(r" script: .*on @user_script:\d+\.?$", re.DOTALL)
_WORD = re.compile(r"[A-Z][A-Z0-9_]+")
# What follows one of these may be what was sent.
_QUOTED_OR_LISTED = re.compile(r"[,:;'`\"(]")
_LONGEST_TEXT = 60
_CUT = re.compile(r"connection closed|connection reset|broken pipe", re.IGNORECASE)


def redis_fault(error: BaseException) -> str:
    """What Redis said, by its own first word (`READONLY`, `OOM`, `NOPERM`), or what became of the connection: `timeout`,
    `connection refused`, `connection closed`, `host name not found`, `certificate verify failed: ...`.

    `error`: of redis-py's or of the socket, also as the cause or in the context of another. Nothing that was sent is in
    the text, so it may be shown and logged.
    """
    chain = list(chain_of(error))
    for each in chain:
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"certificate verify failed: {each.verify_message or each.reason}"
    for each in chain:
        if (word := _answered(each)) is not None:
            return word
    for each in chain:
        if (text := _of_the_connection(each)) is not None:
            return text
    return type(error).__name__


def is_error_reply(error: BaseException) -> bool:
    """Whether Redis has answered with an error, rather than that a connection was lost or never made."""
    return any(_answered(each) is not None for each in chain_of(error))


def _answered(error: BaseException) -> str | None:
    """The first word of an error reply; with the text behind a mere ERR. None where `error` is none."""
    if not isinstance(error, RedisError) or isinstance(error, NoAnswerInTime | MaxConnectionsError):
        return None
    text = _OF_A_PIPELINE.sub("", str(error))
    code = error.status_code
    if code is None and not isinstance(error, NoConnection):
        first = text.partition(" ")[0].removesuffix(":")
        code = first if _WORD.fullmatch(first) else None
    if code != "ERR":
        return code
    if of_a_script := _OF_A_SCRIPT.search(text):
        return of_a_script[1]
    said = _QUOTED_OR_LISTED.split(text.removeprefix("ERR "), maxsplit=1)[0].strip()
    return f"ERR {said[:_LONGEST_TEXT]}".strip()


def _of_the_connection(error: BaseException) -> str | None:
    match error:
        case NoAnswerInTime() | TimeoutError():
            return "timeout"
        case ConnectionRefusedError():
            return "connection refused"
        case MaxConnectionsError():
            return "too many connections of this process"
        case socket.gaierror():
            return "host name not found"
        case ssl.SSLError():
            reason = getattr(error, "reason", None) or "no reason given"
            return f"TLS failed: {reason.replace('_', ' ').lower()}"
        case ConnectionError() | EOFError():
            return "connection closed"
        case FileNotFoundError():
            return "no such socket"
        case OSError(errno=int(), strerror=str(reason)):
            return reason.lower()
        case NoConnection() if _CUT.search(str(error)):
            return "connection closed"
    return None


def redis_server_fault(error: BaseException) -> ServerFault:
    """The same with Redis's own sentence, as alarms, `status` and pages tell it."""
    return ServerFault(Server.REDIS, kind_of(redis_fault(error)), _said(error))


def kind_of(fault: str) -> str:
    """The class of what `redis_fault` tells: `READONLY`, `connection_refused`, `ERR`."""
    kind = fault.removeprefix("ERR ").partition(":")[0].replace(" ", "_").lower()
    if kind in KNOWN[Server.REDIS]:
        return kind
    return fault.partition(" ")[0]


def _said(error: BaseException) -> str:
    """The sentence behind the word that `redis_fault` tells; of a lost connection what the innermost error says."""
    chain = [each for each in chain_of(error) if isinstance(each, RedisError)]
    answers = [each for each in chain if _answered(each) is not None]
    told: BaseException = error
    for each in answers[:1] or chain[-1:]:
        told = each
    return sentence(_IN_A_SCRIPT.sub("", _OF_A_PIPELINE.sub("", str(told))))
