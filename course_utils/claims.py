"""Statements that a lesson makes, checked while the lesson runs."""


def verify(claim: str, holds: bool) -> None:
    """Print a tick and the claim if it holds; stop the notebook if it does not.

    Parameters
    ----------
    claim : str
        One sentence, as a learner would read it.
    holds : bool
        What was measured, compared with what the sentence says. A Python or NumPy truth value, or an array with
        one element.

    Raises
    ------
    AssertionError
        If the claim does not hold here. The message repeats the claim.
    TypeError
        If `holds` is not a single truth value, so that a forgotten comparison cannot pass as true.

    Examples
    --------
    >>> verify("two and two make four", 2 + 2 == 4)
    ✔ two and two make four
    """
    value = holds.item() if getattr(holds, "size", 0) == 1 else holds  # a NumPy truth value becomes Python's
    if not isinstance(value, bool):
        raise TypeError(
            f"verify needs one True or False for “{claim}”, but got {type(holds).__name__}: "
            "compare it with something first, and use .all() or .any() on an array."
        )
    if not value:
        raise AssertionError(f"On this computer it is not true that {claim}.")
    print(f"✔ {claim}")
