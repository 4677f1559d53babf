"""One HTML file that tells others what a classifier can do: pictures inside, no network, no program needed.

Lesson 12, section 12.3, puts a picture into a page by hand and shows why every name must be escaped.
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from course_utils.audit import Audit

MOST_BYTES = 2_000_000  # what mail and chat programs pass on without complaint

_MOST_CLASSES = 20  # of a confusion matrix that a person can read
_MOST_CARDS = 12
_SIDE = 160  # pixels of a picture in the report
_LEVELS = {"mend": ("✘", "mend"), "check": ("!", "check"), "note": ("·", "note")}

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5b6875; --paper: #fff; --card: #f3f5f7; --line: #d9dee3;
  --blue: 0, 114, 178; --red: #b3420a; --green: #00795a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebef; --soft: #a5b0bb; --paper: #14191f; --card: #1f262e;
  --line: #38424d; --blue: 86, 180, 233; --red: #ff9a62; --green: #4fd1a5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 3rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem; margin-top: 1.25rem; }
.tile { background: var(--card); border-radius: .6rem; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.35rem; line-height: 1.3; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .75rem; }
figure { margin: 0; background: var(--card); border-radius: .6rem; overflow: hidden; }
figure img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #0002; }
figcaption { padding: .5rem .7rem .7rem; font-size: .85rem; line-height: 1.35; overflow-wrap: anywhere; }
.wrong { color: var(--red); font-weight: 600; } .right { color: var(--green); font-weight: 600; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .7rem; text-align: right; border: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; background: var(--card); } tbody th { text-align: left; }
ul { list-style: none; margin: 0; padding: 0; } li { padding: .5rem 0 .5rem 1.8rem; position: relative; }
li + li { border-top: 1px solid var(--line); } li::before { content: attr(data-sign); position: absolute; left: .4rem; }
li.mend::before { color: var(--red); } li::before, li b { font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 3rem; font-size: .85rem; color: var(--soft); }
"""


def write_report(
    path: str | Path,
    *,
    title: str,
    class_names: Sequence[str],
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    files: Sequence[str] | None = None,
    headline: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    audit: Audit | None = None,
) -> Path:
    """Write a report on a classifier as one HTML file that opens anywhere, without a network.

    It shows the headline, a confusion matrix, the worst mistakes (or, if there are none, the answers it was least sure
    of), examples of each class, what the audit found, and the notes. Pictures are inside the file, shrunk; there is no
    script in it and it asks no server for anything. Whatever comes from you or from file names is shown as text, also
    if it looks like HTML. The file is replaced if it exists, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Where to write it, such as ``"report.html"``; ``~`` stands for your home folder.
    title : str
        Such as ``"Brick, grass or gravel?"``.
    class_names : sequence of str
        In the order of the probabilities.
    images : ndarray
        uint8 (n, H, W, 3) or (n, H, W), 0…255: the pictures of the test part.
    labels : ndarray
        int (n,), index into `class_names`.
    probabilities : ndarray
        (n, classes), what the classifier answered.
    files : sequence of str, optional
        n names to put below the pictures.
    headline : mapping of str to str, optional
        What should stand at the top in large letters, such as ``{"accuracy": "97 %", "95 % interval": "91 to 99 %"}``.
    notes : mapping of str to str, optional
        How it was made and what it is not good for, such as ``{"split": "by region of the photo"}``.
    audit : Audit, optional
        What `audit_folder` found.

    Returns
    -------
    Path
        The file, below `MOST_BYTES` in size.

    Raises
    ------
    ValueError
        If there is no picture, the numbers of pictures, labels, names and probabilities do not agree, a label has no
        name, or the texts make the file too large.
    OSError
        If the file cannot be written.

    Notes
    -----
    Lesson 12, section 12.3, step 10.
    """
    path = Path(path).expanduser()
    images, labels, probabilities = np.asarray(images), np.asarray(labels), np.asarray(probabilities)
    names = list(class_names)
    files = (
        [f"picture {number + 1}" for number in range(len(images))] if files is None else [str(name) for name in files]
    )
    _check(names, images, labels, probabilities, files)
    said = probabilities.argmax(axis=1)
    text = _page(
        title,
        [
            f"<h1>{_text(title)}</h1>",
            f"<p class=soft>{len(labels):,} pictures that the model had never seen, {len(names)} classes</p>",
            _tiles(headline or {}),
            _section("Where the answers go", _confusion(names, labels, said)),
            _mistakes(names, images, labels, probabilities, files),
            _section("Examples of each class", _examples(names, images, labels, files)),
            _findings(audit),
            _notes(notes or {}),
            "<footer>Pictures and style are inside this file; it asks no server for anything.</footer>",
        ],
    )
    content = text.encode("utf-8", errors="replace")  # a name may hold bytes that are no text
    if len(content) > MOST_BYTES:
        raise ValueError(
            f"The report would have {len(content) / 1e6:.1f} MB, more than the {MOST_BYTES / 1e6:g} MB that are easily "
            "sent about: shorten title, headline and notes."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.part")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return path


def _check(
    names: list[str], images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, files: list[str]
) -> None:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images):
        raise ValueError(
            f"write_report got pictures of shape {images.shape} and type {images.dtype}: pass at least one, as uint8 "
            "(n, height, width, 3) or (n, height, width) in 0…255."
        )
    if labels.shape != (len(images),) or len(files) != len(images) or probabilities.shape != (len(images), len(names)):
        raise ValueError(
            f"write_report got {len(images)} pictures, labels of shape {labels.shape}, {len(files)} file names and "
            f"probabilities of shape {probabilities.shape} for {len(names)} classes: pass one label, one name and one "
            "row of probabilities for each picture, with a column for each class."
        )
    if not np.isin(labels, range(len(names))).all():
        raise ValueError(f"A label is not among 0 … {len(names) - 1}, which have names: pass indices into class_names.")


def _text(value: object) -> str:
    """Return text that a browser shows as it is, whatever it looks like."""
    return html.escape(str(value))


def _page(title: str, parts: list[str]) -> str:
    # The policy is a second lock: even if a name got through as HTML, the browser would fetch and run nothing.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = (
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n"
        f'<meta http-equiv=Content-Security-Policy content="{policy}">\n'
        f'<meta name=viewport content="width=device-width">\n<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n'
    )
    return head + "\n".join(part for part in parts if part) + "\n</html>\n"


def _section(heading: str, body: str) -> str:
    return f"<h2>{heading}</h2>\n{body}"


def _tiles(headline: Mapping[str, str]) -> str:
    tiles = [f"<div class=tile><b>{_text(value)}</b>{_text(name)}</div>" for name, value in headline.items()]
    return f"<div class=tiles>{''.join(tiles)}</div>" if tiles else ""


def _confusion(names: list[str], labels: np.ndarray, said: np.ndarray) -> str:
    """Return the table of truth against answer, or with many classes the list of the most frequent confusions."""
    table = np.zeros((len(names), len(names)), int)
    np.add.at(table, (labels, said), 1)
    if len(names) > _MOST_CLASSES:
        pairs = sorted(((table[t, a], t, a) for t, a in np.argwhere(table) if t != a), reverse=True)[:15]
        rows = "".join(
            f"<tr><th>{_text(names[t])}</th><td>{_text(names[a])}</td><td>{count}</td></tr>" for count, t, a in pairs
        )
        return (
            f"<table><thead><tr><th>is</th><th>taken for</th><th>times</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    head = "".join(f"<th>{_text(name)}</th>" for name in names)
    rows = []
    for number, (name, row) in enumerate(zip(names, table, strict=True)):
        total = max(row.sum(), 1)
        cells = "".join(f'<td style="background: rgba(var(--blue), {0.5 * n / total:.2f})">{n}</td>' for n in row)
        found = f"{100 * row[number] / total:.0f} %" if row.sum() else "none there"
        rows.append(f"<tr><th>{_text(name)}</th>{cells}<td>{found}</td></tr>")
    return (
        "<p class=soft>A row for each true class, a column for each answer. Right answers stand on the diagonal.</p>"
        f"<div class=scroll><table><thead><tr><th></th>{head}<th>found</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _mistakes(
    names: list[str], images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, files: list[str]
) -> str:
    """Return cards of the worst mistakes, the surest first, or of the least sure right answers."""
    said = probabilities.argmax(axis=1)
    of_the_truth = probabilities[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(said != labels)
    if wrong.size:
        chosen = wrong[np.argsort(of_the_truth[wrong], kind="stable")][:_MOST_CARDS]
        count = f"{len(wrong):,} of {len(labels):,} answers are wrong"
        more = f"; here are the {len(chosen)} worst" if len(wrong) > len(chosen) else ""
        heading, intro = "Mistakes", f"{count}{more}."
    else:
        chosen = np.argsort(of_the_truth, kind="stable")[: _MOST_CARDS // 2]
        heading, intro = "Least sure answers", "No answer on these pictures is wrong. Of these it was least sure."
    cards = []
    for n in chosen:
        answer = f"<span class={'right' if said[n] == labels[n] else 'wrong'}>{_text(names[said[n]])}</span>"
        caption = f"{answer}, {100 * probabilities[n, said[n]]:.0f} %<br>is {_text(names[labels[n]])}"
        cards.append(_card(images[n], f"{caption}<br><span class=soft>{_text(files[n])}</span>", files[n]))
    return _section(heading, f"<p class=soft>{intro}</p><div class=cards>{''.join(cards)}</div>")


def _examples(names: list[str], images: np.ndarray, labels: np.ndarray, files: list[str]) -> str:
    a_class = max(1, 2 * _MOST_CARDS // len(names))
    cards = []
    for label, name in enumerate(names[: 2 * _MOST_CARDS]):
        rows = np.flatnonzero(labels == label)
        for n in rows[:: max(1, len(rows) // a_class)][: min(a_class, 4)]:
            cards.append(_card(images[n], _text(name), files[n]))
    return f"<div class=cards>{''.join(cards)}</div>"


def _card(image: np.ndarray, caption: str, name: str) -> str:
    return f'<figure><img src="{_data_uri(image)}" alt="{_text(name)}"><figcaption>{caption}</figcaption></figure>'


def _data_uri(image: np.ndarray) -> str:
    """Return a picture as an address that holds the picture itself: a small JPEG in letters and digits."""
    picture = Image.fromarray(image.squeeze()).convert("RGB")
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _findings(audit: Audit | None) -> str:
    if audit is None:
        return ""
    counts = np.bincount(audit.labels, minlength=len(audit.class_names))
    intro = " · ".join(f"{_text(name)} {count:,}" for name, count in zip(audit.class_names, counts, strict=True))
    items = []
    for finding in audit.findings:
        sign, kind = _LEVELS[finding.level]
        items.append(
            f'<li class={kind} data-sign="{sign}"><b>{_text(finding.what)}</b><br>{_text(finding.advice)}</li>'
        )
    body = f"<ul>{''.join(items)}</ul>" if items else "<p>Nothing to mend.</p>"
    return _section("The pictures it was made from", f"<p class=soft>{intro}</p>{body}")


def _notes(notes: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in notes.items())
    return _section("How it was made, and its limits", f"<dl>{rows}</dl>") if rows else ""
