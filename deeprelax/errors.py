"""The one kind of error whose message alone is shown: the user can mend it."""


class UserError(ValueError):
    """One clear sentence: key or file, value, what is allowed, what to do. The command line exits with status 1."""
