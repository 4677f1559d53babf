"""Bring data and pretrained weights to this computer: ``python -m course_utils.prepare``. Quick when all is there."""

import sys

from course_utils import datasets, weights


def main() -> int:
    """Prepare what is missing, with progress; return 1, after one line a problem, if something stays missing."""
    failed = 0
    for what, prepared, prepare in (
        ("data", datasets.prepared, datasets.prepare_all),
        ("pretrained weights", weights.prepared, weights.prepare_all),
    ):
        if prepared():
            continue
        print(f"Preparing {what} (once) …", flush=True)
        try:
            prepare()
        except (RuntimeError, OSError) as error:
            failed = 1
            print(error, file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
