"""What is wrong with a script."""


class OptionError(Exception):
    """An option has an unknown name or a value that makes no sense; the message is for whoever wrote the script."""
