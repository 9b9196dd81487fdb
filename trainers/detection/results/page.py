"""The page of a detector's evaluation: scores, curves, images with boxes, the surest mistakes."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from common.detection.nms import Detections
from common.pages.html_page import plot, write_page
from trainers.detection.data.cleaning import ImageBoxes
from trainers.detection.results.drawing import draw, load_image
from trainers.detection.results.outcomes import Curve, Outcome, surest_mistakes
from trainers.detection.results.scored import HEADERS, Scored

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_IMAGES, _MISTAKES = 12, 24
# From which on a detection is drawn if none is right.
_USUAL_SCORE = 0.5
# Pixels of a picture's longer side, and how much around a mistake is shown, as a share of its box.
_LARGE, _SMALL, _MARGIN = 480, 160, 0.5
# Of a curve, so many points at most: more cannot be seen.
_POINTS = 500


def write_scored(path: Path, about: dict[str, str], scored: Scored) -> None:
    """Writes the page.

    Args:
      path: the HTML file.
      about: what was evaluated: lines of a table.
      scored: the result.

    Raises:
      UserError: a package is missing.
      OSError: the file or an image cannot be read or written.
    """
    curves, found = scored.curves, scored.found
    best = curves[0].best()
    score = _USUAL_SCORE if best is None else float(curves[0].scores[best])
    values = {
        "about": [[name, value] for name, value in about.items()],
        "scores": scored.scores.details,
        "images": len(found.images),
        "score": f"{score:.2f}",
        "headers": HEADERS,
        "classes": scored.class_rows(),
        "curves": plot(curve_figure(curves, found.class_names), "curves"),
        "pictures": [
            {
                "picture": _picture(image, _from(score, one), found.class_names),
                "image": _shown(image.path),
            }
            for image, one in _some(found.images, scored.detections)
        ],
        "mistakes": [_mistake(one, scored) for one in surest_mistakes(scored.outcomes, _MISTAKES)],
    }
    write_page(path, Path(__file__).with_name("templates"), "detections.html", values)


def curve_figure(curves: Sequence[Curve], names: Sequence[str]) -> "Figure":
    """Returns precision against recall, a line for each class."""
    from plotly import graph_objects

    figure = graph_objects.Figure()
    for name, one in zip(names, curves[1:], strict=True):
        chosen = np.unique(np.linspace(0, max(len(one.scores) - 1, 0), _POINTS).astype(int))
        chosen = chosen[: len(one.scores)]
        figure.add_scatter(
            x=one.recalls[chosen],
            y=one.precisions[chosen],
            customdata=one.scores[chosen],
            name=name,
            mode="lines",
            showlegend=True,
            hovertemplate="recall %{x:.3f}, precision %{y:.3f}, score %{customdata:.3f}",
        )
    title = "Precision against recall, at an IoU of 0.5"
    axes = {"xaxis_title": "recall", "yaxis_title": "precision", "height": 420}
    figure.update_layout(title=title, **axes)
    figure.update_xaxes(range=[0, 1.02])
    figure.update_yaxes(range=[0, 1.02])
    return figure


def _some(images: Sequence[ImageBoxes], detections: Sequence[Detections]) -> list[tuple]:
    """Returns images from the whole split."""
    places = np.unique(np.linspace(0, len(images) - 1, _IMAGES).astype(int))
    return [(images[place], detections[place]) for place in places]


def _from(score: float, found: Detections) -> Detections:
    """Returns the detections of this score or more."""
    return Detections(*(values[found.scores >= score] for values in found))


def _picture(image: ImageBoxes, found: Detections, names: Sequence[str]) -> str:
    return _url(_shrunk(draw(load_image(image.path), found, names, image.boxes), _LARGE))


def _mistake(one: Outcome, scored: Scored) -> dict[str, Any]:
    image, found = scored.found.images[one.image], scored.detections[one.image]
    names = scored.found.class_names
    box = found.boxes[one.index]
    margin = _MARGIN * max(box[2:] - box[:2])
    window = np.concatenate([box[:2] - margin, box[2:] + margin])
    window = np.clip(window, 0, [image.width, image.height] * 2).round()
    alone = Detections(*(values[one.index : one.index + 1] for values in found))
    drawn = draw(load_image(image.path), alone, names, image.boxes)
    return {
        "picture": _url(_shrunk(drawn.crop(tuple(map(int, window))), _SMALL)),
        "text": f"{names[one.label]} {one.score:.0%}: {one.kind}",
        "image": _shown(image.path),
    }


def _shown(path: str) -> str:
    # A file's name may be no text.
    return path.encode(errors="backslashreplace").decode()


def _shrunk(image: Image.Image, longer: int) -> Image.Image:
    image.thumbnail((longer, longer))
    return image


def _url(image: Image.Image) -> str:
    """Returns an image as a JPEG in a URL."""
    data = io.BytesIO()
    image.save(data, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
