"""The forms of texts that addresses take, and what each is called where another one came."""

NO_NUL = r"^[^\x00]*$"
JOB_ID = r"^[A-Za-z0-9-]{1,16}$"
VISIBLE_ASCII = r"^[\x20-\x7e]+$"

IN_WORDS = {
    NO_NUL: "a text without NUL (U+0000)",
    JOB_ID: "16 letters, digits and dashes at most",
    VISIBLE_ASCII: "letters, digits and signs of ASCII",
}
