"""The error whose message is meant for the user."""


class DataError(ValueError):
    """Something in the user's data is not as it must be; the message is one line for the user."""
