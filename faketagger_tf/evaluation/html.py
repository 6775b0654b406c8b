"""Reports as one self-contained HTML page: tables, plots as SVG, pictures inside."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence

import numpy as np

from faketagger_tf.photos import encode_image

# Told apart by people who see few colours (Okabe and Ito), in this order.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
BAR, GAP, LABEL, WIDTH = 11, 10, 300, 900  # Of a bar chart, in SVG units.

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 62em;
  padding: 0 1em; color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1em 0; }
td, th { border-bottom: 1px solid #ddd; padding: .25em .7em; text-align: right; }
td:first-child, th:first-child { text-align: left; }
td.best { font-weight: bold; }
figure { margin: 1em 0; } figcaption { color: #555; }
img { max-width: 100%; image-rendering: auto; } svg { max-width: 100%; }
svg text { font: 12px system-ui, sans-serif; fill: #222; }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """Returns a whole page.

    Args:
        title: plain text.
        parts: HTML, from the functions below.
    """
    title = html.escape(title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{title}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def heading(text: str) -> str:
    """A section's heading, from plain text."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """A paragraph, from plain text."""
    return f"<p>{html.escape(text)}</p>"


def table(
    titles: Sequence[str],
    rows: Sequence[Sequence],
    best: Sequence[set[int]] = (),
) -> str:
    """A table of plain text; `best` are the columns set in bold, for each row.

    Floats get four digits, None becomes "-".
    """

    def cell(value, tag="td", strong=False):
        if value is None:
            value = "-"
        text = f"{value:.4f}" if isinstance(value, float) else str(value)
        mark = ' class="best"' if strong else ""
        return f"<{tag}{mark}>{html.escape(text)}</{tag}>"

    best = list(best) or [set()] * len(rows)
    head = "".join(cell(title, "th") for title in titles)
    body = "\n".join(
        "<tr>"
        + "".join(cell(v, strong=i in strong) for i, v in enumerate(row))
        + "</tr>"
        for row, strong in zip(rows, best, strict=True)
    )
    return f"<table><tr>{head}</tr>\n{body}</table>"


def bar_chart(
    title: str,
    categories: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    low: float = 0.0,
    high: float = 1.0,
) -> str:
    """Horizontal bars, one group a category, as SVG.

    Args:
        title: plain text under the plot.
        categories: the groups' names.
        series: name -> one value a category; None leaves a bar out.
        low, high: ends of the axis.

    Example:
        >>> "rivagan" in bar_chart("Bits", ["JPEG 50"], {"rivagan": [0.9]}, 0.5)
        True
    """
    group = BAR * len(series) + GAP
    top, span = 44, WIDTH - LABEL - 60
    height = top + group * len(categories) + 10

    def place(value):
        return LABEL + span * (min(max(value, low), high) - low) / (high - low)

    parts = []
    for number, name in enumerate(series):
        x, colour = LABEL + 150 * number, COLOURS[number % len(COLOURS)]
        parts.append(f'<rect x="{x}" y="4" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 17}" y="14">{html.escape(name)}</text>')
    for tick in np.linspace(low, high, 6):
        x = place(tick)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{height - 6}" '
            'stroke="#ddd"/>'
            f'<text x="{x:.1f}" y="{top - 9}" text-anchor="middle">{tick:.2g}</text>'
        )
    for row, category in enumerate(categories):
        y = top + group * row
        middle = y + (group - GAP) / 2 + 4
        parts.append(
            f'<text x="{LABEL - 8}" y="{middle:.1f}" text-anchor="end">'
            f"{html.escape(category)}</text>"
        )
        for number, values in enumerate(series.values()):
            value = values[row]
            if value is None:
                continue
            end, colour = place(value), COLOURS[number % len(COLOURS)]
            parts.append(
                f'<rect x="{LABEL}" y="{y + BAR * number}" '
                f'width="{max(end - LABEL, 0.5):.1f}" height="{BAR - 1}" '
                f'fill="{colour}"/><text x="{end + 4:.1f}" '
                f'y="{y + BAR * number + 9}" style="font-size:9px">{value:.3g}</text>'
            )
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{html.escape(title)}">{"".join(parts)}</svg>'
        f"<figcaption>{html.escape(title)}</figcaption></figure>"
    )


def picture(image: np.ndarray, caption: str) -> str:
    """A picture inside the page; uint8 `[H, W, 3]` RGB, as JPEG 90."""
    data = base64.b64encode(encode_image(image, ".jpg", 90)).decode()
    text = html.escape(caption)
    return (
        f'<figure><img alt="{text}" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def canvas_page(report: Mapping, panel: np.ndarray) -> str:
    """A report of `canvases.evaluate` as one page.

    Args:
        report: what `trainers.evaluate` writes as JSON.
        panel: uint8 `[H, W, 3]`, its picture.
    """
    rows = report["manipulations"]
    titles = ["manipulation", "words", "bit accuracy", "word error", "raw word error"]
    keys = ["words", "bit_accuracy", "word_error_rate", "raw_word_error_rate"]
    bits = [row["bit_accuracy"] for row in rows.values()]
    parts = [
        paragraph(
            f"{report['images']} photos, PSNR {report['psnr']:.2f} dB, SSIM "
            f"{report['ssim']:.4f}, {report['message_bits']} code bits, "
            f"{report['payload_bits']} payload bits."
        ),
        bar_chart(
            "Bit accuracy; one half is chance", list(rows), {"bits": bits}, low=0.4
        ),
        table(titles, [[n, *(row[k] for k in keys)] for n, row in rows.items()]),
        picture(panel, "cover, tagged, residual x10, and each manipulation"),
    ]
    return page("Evaluation on held-out people", parts)
