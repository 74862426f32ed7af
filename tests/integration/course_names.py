"""Names and headers of the course protocol."""

import itertools
import uuid

fresh_numbers = itertools.count()


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def unique(prefix="a"):
    """A name that no other test uses."""
    return f"{prefix}-{next(fresh_numbers)}-{uuid.uuid4().hex[:6]}"
