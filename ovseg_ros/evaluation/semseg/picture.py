"""A confusion matrix as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.confusion import Confusion
from ovseg_ros.visualization import heat_colours
from ovseg_ros.visualization.drawing import draw_text, shorten, text_width

CELL, TEXT, MARGIN, NAME_WIDTH = 22, 15, 16, 190


def confusion_picture(confusion: Confusion) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: a row for each true class that occurs, a column for each that occurs or is claimed; rows add to 1.

    The first column is what was left unanswered.
    """
    rows = np.flatnonzero(confusion.truths) + 1
    claimed = np.flatnonzero(confusion.counts[1:, 1:].sum(axis=0)) + 1
    columns = np.array([0, *np.union1d(rows, claimed)])
    shares = confusion.counts[np.ix_(rows, columns)] / np.maximum(confusion.truths[rows - 1], 1)[:, None]
    names = ("(no answer)", *confusion.class_names)
    left = MARGIN + max([text_width(shorten(names[row], TEXT, NAME_WIDTH), TEXT) for row in rows] + [0]) + 8
    top = MARGIN + max(text_width(shorten(names[column], TEXT, NAME_WIDTH), TEXT) for column in columns) + 8
    width = left + len(columns) * CELL + MARGIN
    picture = np.full((top + len(rows) * CELL + MARGIN, width, 3), 255, dtype=np.uint8)
    cells = heat_colours(np.sqrt(shares).ravel()).reshape(*shares.shape, 3)
    body = np.repeat(np.repeat(cells, CELL, axis=0), CELL, axis=1)
    body[CELL - 1 :: CELL] = body[:, CELL - 1 :: CELL] = 255
    picture[top : top + body.shape[0], left : left + body.shape[1]] = body
    for place, row in enumerate(rows):
        name = shorten(names[row], TEXT, NAME_WIDTH)
        draw_text(picture, name, (left - 6 - text_width(name, TEXT), top + (place + 0.5) * CELL), TEXT)
    # Text runs along image rows only: the column names are drawn on a picture that is then turned.
    heads = np.full((len(columns) * CELL, top, 3), 255, dtype=np.uint8)
    for place, column in enumerate(columns):
        draw_text(heads, shorten(names[column], TEXT, NAME_WIDTH), (6, (place + 0.5) * CELL), TEXT)
    picture[:top, left : left + heads.shape[0]] = np.rot90(heads)
    return picture
