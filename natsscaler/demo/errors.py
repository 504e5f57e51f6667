"""How the demo fails: one exception, whose message is for the person at the terminal."""


class DemoFailed(Exception):
    """The demo cannot go on, or did not show what it is to show; the message is a sentence with the fix."""
