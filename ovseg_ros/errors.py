"""The one exception type that every room raises for things a user can mend."""

from __future__ import annotations


class OvsegError(Exception):
    """Something a user can mend. The message is one sentence that says what is wrong and what to do.

    The command line prints it as a single line and exits with 1; nodes put it in a reply's `message`.
    Anything else that escapes is a defect of ours and keeps its traceback.
    """
