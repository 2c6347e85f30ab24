"""The base of failures whose own text tells a person what is wrong and what to do."""


class ToldFailure(Exception):
    """A command or a worker that ends with it says its text as it is, without a traceback; no secret is in it."""
