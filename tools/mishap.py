# SPDX-License-Identifier: MIT
"""What is said of an exception that nobody expected: a part of a tool that fails in the middle becomes that part's
named failure, and the others go on."""
import traceback

LAST_LINES = 12
# A part ends by any of these; not by the keyboard.
ANY = (Exception, SystemExit)


def sentence(error):
    words = " ".join(str(error).split())
    return f"the tool failed: {type(error).__name__}{': ' if words else ''}{words}"


def details(error):
    """The end of the traceback, where it happened."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return text.splitlines()[-LAST_LINES:]
