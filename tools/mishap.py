# SPDX-License-Identifier: MIT
"""What is reported of an unexpected exception: the part of a tool that raised it fails, with the exception as the
reason, and the other parts go on."""
import traceback

LAST_LINES = 12
# Any of these ends one part only. KeyboardInterrupt is none of them: it ends the tool.
ANY = (Exception, SystemExit)


def sentence(error):
    words = " ".join(str(error).split())
    return f"the tool failed: {type(error).__name__}{': ' if words else ''}{words}"


def details(error):
    """The end of the traceback, where it happened."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return text.splitlines()[-LAST_LINES:]
