"""The demo's page: one HTML file with everything in it, and the same pictures and sounds as files.

Sections are added in the order in which they are to be read; `Report.write` writes
``index.html``, whose pictures and sounds are embedded, and beside it each picture as PNG and each
sound as WAV. Nothing is loaded from anywhere else.
"""

from __future__ import annotations

import base64
import re
import wave
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from swath.demo.data import Credit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Report"]

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, sans-serif; color: #22303c; background: #fff;
       max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 .6rem; padding-top: .6rem;
     border-top: 1px solid #c9d1d8; }
nav ul { columns: 2; padding-left: 1.2rem; margin: .4rem 0; }
a { color: #1f6390; }
figure { margin: 1.2rem 0; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption, caption { font-size: .9rem; color: #4a5967; text-align: left; padding: .3rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #dde3e8; text-align: left;
         vertical-align: top; }
thead th { border-bottom: 2px solid #22303c; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.good { color: #2c6a3c; font-weight: 600; }
.bad { color: #b3361a; font-weight: 600; }
audio { width: 100%; max-width: 30rem; display: block; }
"""


class Report:
    """A page that is put together piece by piece.

    Parameters
    ----------
    title : str
    lead : str, optional
        A paragraph under the title.
    """

    def __init__(self, title: str, lead: str = "") -> None:
        self._title, self._lead = title, lead
        self._sections: list[tuple[str, str]] = []
        self._body: list[str] = []
        self._files: dict[str, bytes] = {}
        self._credits: list[Credit] = []

    def section(self, heading: str) -> None:
        """Begin a section; it gets an entry in the table of contents."""
        mark = f"s{len(self._sections) + 1}"
        self._sections.append((mark, heading))
        self._body.append(f'<h2 id="{mark}">{escape(heading)}</h2>')

    def text(self, paragraph: str) -> None:
        """Add a paragraph."""
        self._body.append(f"<p>{escape(paragraph)}</p>")

    def score(self, what: str, result: str, asked: str, reached: bool) -> None:
        """Add a score on made data: what was measured, the result, what is asked for."""
        verdict = '<span class="good">reached</span>'
        if not reached:
            verdict = '<span class="bad">not reached</span>'
        self._body.append(
            f"<p><strong>{escape(what)}:</strong> {escape(result)} "
            f"(asked for: {escape(asked)}; {verdict})</p>"
        )

    def table(
        self, header: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str = ""
    ) -> None:
        """Add a table; cells that are numbers are set right, "pass" and "fail" stand out."""
        listed = [list(row) for row in rows]
        for row in listed:
            if len(row) != len(header):
                raise ValueError(
                    f"Report.table: a row has {len(row)} cells and header {len(header)}; "
                    "one cell per heading is needed"
                )
        numeric = [
            bool(listed) and all(isinstance(row[i], int | float) for row in listed)
            for i in range(len(header))
        ]
        head = "".join(
            f'<th scope="col"{_CLASS if numeric[i] else ""}>{escape(name)}</th>'
            for i, name in enumerate(header)
        )
        lines = []
        for row in listed:
            cells = "".join(_cell(value, first=not i) for i, value in enumerate(row))
            lines.append(f"<tr>{cells}</tr>")
        title = f"<caption>{escape(caption)}</caption>" if caption else ""
        self._body.append(
            f'<div class="wide"><table>{title}<thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table></div>"
        )

    def figure(self, name: str, picture: Figure | bytes, *, alt: str, caption: str = "") -> None:
        """Add a picture.

        Parameters
        ----------
        name : str
            Of the file, without ending.
        picture : Figure or bytes
            A matplotlib figure, or the bytes of a PNG file.
        alt : str
            What is to be seen, for those who cannot see it.
        caption : str, optional
        """
        if not isinstance(picture, bytes):
            from swath.plot import to_png

            picture = to_png(picture)
        self._add_file(f"{name}.png", picture)
        width, height = (int.from_bytes(picture[i : i + 4], "big") for i in (16, 20))
        self._body.append(
            f'<figure><img src="{_embed("image/png", picture)}" alt="{escape(alt)}" '
            f'width="{width}" height="{height}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def sound(self, name: str, samples: NDArray[Any], rate: float, *, caption: str) -> None:
        """Add a sound to listen to, scaled to a peak of 0.9; 16-bit WAV.

        Parameters
        ----------
        name : str
            Of the file, without ending.
        samples : ndarray, shape (samples,)
        rate : float
            Samples per second.
        caption : str
        """
        data = _wav(np.asarray(samples, dtype=np.float64), rate)
        self._add_file(f"{name}.wav", data)
        self._body.append(
            f'<figure><figcaption>{escape(caption)}</figcaption><audio controls preload="none" '
            f'src="{_embed("audio/wav", data)}" aria-label="{escape(caption)}"></audio></figure>'
        )

    def credit(self, credit: Credit) -> None:
        """Name a source of data; the page's last section lists them all, each once."""
        if credit not in self._credits:
            self._credits.append(credit)

    def html(self) -> str:
        """The whole page."""
        sections, body = list(self._sections), list(self._body)
        if self._credits:
            sections.append(("credits", "Where the data come from"))
            items = "".join(f"<li>{escape(str(credit))}</li>" for credit in self._credits)
            body.append(f'<h2 id="credits">Where the data come from</h2><ul>{items}</ul>')
        contents = "".join(f'<li><a href="#{m}">{escape(h)}</a></li>' for m, h in sections)
        lead = f"<p>{escape(self._lead)}</p>" if self._lead else ""
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self._title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            f"<header><h1>{escape(self._title)}</h1>{lead}</header>\n"
            f'<nav aria-label="Contents"><ul>{contents}</ul></nav>\n<main>\n'
            + "\n".join(body)
            + "\n</main>\n</body>\n</html>\n"
        )

    def write(self, directory: str | Path) -> Path:
        """Write the page, the pictures and the sounds; the path of the page comes back.

        The directory is made if it is not there; files of the same names are replaced.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self._files.items():
            (folder / name).write_bytes(data)
        page = folder / "index.html"
        page.write_text(self.html(), encoding="utf-8")
        return page

    def _add_file(self, name: str, data: bytes) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*\.[a-z]+", name):
            raise ValueError(
                f"Report: name is {name.rsplit('.', 1)[0]!r}; "
                "lower-case letters, digits, - and _ are needed"
            )
        if name in self._files:
            raise ValueError(f"Report: name {name!r} is taken; another one is needed")
        self._files[name] = data


_CLASS = ' class="number"'
_VERDICTS = {"pass": "good", "yes": "good", "fail": "bad", "no": "bad"}


def _cell(value: Any, *, first: bool) -> str:
    if isinstance(value, float):
        return f"<td{_CLASS}>{value:.4g}</td>"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"<td{_CLASS}>{value}</td>"
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    if first:
        return f'<th scope="row">{escape(text)}</th>'
    verdict = _VERDICTS.get(text.lower())
    return f'<td class="{verdict}">{escape(text)}</td>' if verdict else f"<td>{escape(text)}</td>"


def _embed(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _wav(samples: NDArray[np.float64], rate: float) -> bytes:
    peak = float(np.abs(samples).max(initial=0.0)) or 1.0
    values = np.round(samples / peak * 0.9 * 32767).astype("<i2")
    stream = BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(round(rate))
        file.writeframes(values.tobytes())
    return stream.getvalue()
