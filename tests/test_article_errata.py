"""docs/article_errata.md: every demonstration runs, and every section leads to a lesson."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "article_errata.md"
SECTIONS = {
    part.partition("\n")[0]: part
    for part in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
}
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(title, source, id=f"{title.partition('.')[0]}-{number}")
    for title, text in SECTIONS.items()
    for number, source in enumerate(CODE.findall(text), 1)
]


def test_sections_are_numbered_and_have_a_demonstration():
    assert [int(title.partition(".")[0]) for title in SECTIONS] == list(range(1, 12))
    for title, text in SECTIONS.items():
        assert CODE.search(text), f"section “{title}” has no demonstration"
        assert text.count("```") == 2 * len(CODE.findall(text)), f"section “{title}” has a block that is not run"


@pytest.mark.parametrize(("title", "source"), BLOCKS)
def test_demonstration(title, source, capsys):
    # A namespace of its own: a reader pastes one block, not those before it.
    exec(compile(source, f"docs/article_errata.md, section {title}", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr()
    assert printed.out.count("✔") == source.count("verify(") >= 1
    assert not printed.err


@pytest.mark.parametrize("title", SECTIONS)
def test_section_leads_to_a_lesson(title):
    last = SECTIONS[title].strip().splitlines()[-1]
    assert last.startswith("Lesson: ")
    links = re.findall(r"\[(\d\d) · [^]]+\]\(([^)]+)\)([^[]*)", last)
    assert links
    for number, target, rest in links:
        notebook = (PAGE.parent / target).resolve()
        assert notebook.is_file() and notebook.name.startswith(number)
        for section in re.findall(r"\d+\.\d+", rest):
            assert f'"## {section} ' in notebook.read_text(encoding="utf-8"), (
                f"{notebook.name} has no section {section}"
            )


def test_page_names_nobody():
    text = PAGE.read_text(encoding="utf-8")
    assert not re.findall(r"https?://\S+", text)
