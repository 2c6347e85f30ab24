"""What a process has in its memory stays there."""

try:
    import resource
except ImportError:  # Windows writes no such files
    resource = None  # type: ignore[assignment]


def write_no_core_files() -> None:
    """From now on a crash of this process, and of those that it starts, leaves no copy of its memory. A second call is safe.

    It stays readable for processes of the same user: these may read the files with the keys as well.
    """
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
