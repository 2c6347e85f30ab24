"""The forms of texts that addresses take, and what each is called where another one came."""

from worker.domain.reasons import KEY_LENGTH, KEY_PATTERN

NO_NUL = r"^[^\x00]*$"
JOB_ID = r"^[A-Za-z0-9-]{1,16}$"
UPLOAD_ID = r"^[A-Za-z0-9_-]{1,64}$"
FAILURE_PLACE = r"[0-9]{1,9}-[0-9]{1,9}"  # `FailurePlace` as a text
VISIBLE_ASCII = r"^[\x20-\x7e]+$"

IN_WORDS = {
    NO_NUL: "a text without NUL (U+0000)",
    JOB_ID: "16 letters, digits and dashes at most",
    UPLOAD_ID: "64 letters, digits, dashes and underscores at most",
    KEY_PATTERN: f"the {KEY_LENGTH} letters and digits of a reason's key",
    VISIBLE_ASCII: "letters, digits and signs of ASCII",
}
