"""Begin a lesson from the templates. Run through ``python3 course.py new NN name``."""

import argparse
import re
import sys
from pathlib import Path

import build_notebooks as build

TEMPLATES = Path(__file__).resolve().parent / "templates"
EXERCISES = build.ROOT / "course_utils" / "exercises"


def matching(pattern: str, what: str):
    """Return a check for argparse: a text that fits a pattern, or a sentence that says what it must be."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"{text!r} must be {what}")
        return text

    return check


def main(arguments: list[str] | None = None) -> int:
    """Write a lesson and the module of its exercises, and return the exit code."""
    parser = argparse.ArgumentParser(prog="course.py new", description=__doc__.splitlines()[0])
    parser.add_argument("number", type=matching(r"\d\d", "two digits, such as 15"))
    parser.add_argument("name", type=matching(r"[a-z0-9_]+", "in small letters, such as optical_flow"))
    options = parser.parse_args(arguments)
    number, title = options.number, options.name.replace("_", " ").capitalize()
    made = {
        build.LESSONS / f"{number}_{options.name}.md": TEMPLATES / "lesson.md",
        EXERCISES / f"lesson_{number}.py": TEMPLATES / "exercises.py",
    }
    for path in made:
        if path.exists():
            print(f"{path.name} is there already: choose another number or name.", file=sys.stderr)
            return 1
    for path, template in made.items():
        text = template.read_text(encoding="utf-8")
        for word, value in (("NN", number), ("NUMBER", str(int(number))), ("TITLE", title)):
            text = text.replace(word, value)
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"written: {path.parent.name}/{path.name}")
    print("Write the lesson, then: python3 course.py build")
    return 0


if __name__ == "__main__":
    sys.exit(main())
