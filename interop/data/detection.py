"""A JSON file in COCO's form and a folder of pictures -> pictures, and the boxes in each.

The file is read as a whole, as its form demands; the pictures are read one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from interop.data import pictures
from interop.data.base import Boxes, Data, Record
from interop.data.classes import matched
from interop.errors import DataError
from interop.facts import Json

_FIX = "give a JSON file in COCO's form (images, annotations, categories) beside its pictures"


class CocoBoxes(Data):
    """The pictures that a COCO-style file lists, in its order, and the boxes of each.

    `path` is the file, or a folder that holds one (annotations.json where there are several). The
    pictures lie in images/ beside it, or beside it. Categories are found among the labels by name,
    those that an annotation uses; without labels a class is the category's own number. Boxes
    without an area, which hold nothing to find, are left out and counted in `ignored`. Raises
    DataError.
    """

    kind = "pictures"

    def __init__(self, path: str | Path, labels: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self.file = _file(self.path)
        content = _parsed(self.file)
        self.ignored = 0
        try:
            self._images = [(i["id"], str(i["file_name"])) for i in content["images"]]
            names = {c["id"]: str(c["name"]) for c in content["categories"]}
            self._boxes = self._by_image(content["annotations"])
            used = {names[c] for boxes in self._boxes.values() for _, c, _ in boxes}
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"is not in COCO's form ({type(error).__name__}: {error})",
                where=str(self.file),
                fix=_FIX,
            ) from None
        if not self._images:
            raise DataError("lists no picture", where=str(self.file), fix=_FIX)
        self._classes = {number: number for number in names}
        if labels:
            places = matched(
                sorted(used), labels, what="categories", where=str(self.file),
                fix="name each category like the model's label, or give the labels with --labels",
            )  # fmt: skip
            self._classes = {n: places[name] for n, name in names.items() if name in places}
        beside = self.file.parent
        self.folder = beside / "images" if (beside / "images").is_dir() else beside

    def __len__(self) -> int:
        return len(self._images)

    def records(self, picks: Sequence[int] | None = None) -> Iterator[Record]:
        for number, name in self._images if picks is None else [self._images[i] for i in picks]:
            path = self.folder / name
            data = pictures.read(path)
            picture = pictures.decode(data, where=str(path))
            yield Record(name, sha256(data).hexdigest(), picture, self._truth(number))

    def _truth(self, number: Any) -> Boxes:
        found = self._boxes.get(number, [])
        return Boxes(
            np.array([b for b, _, _ in found], dtype=np.float32).reshape(-1, 4),
            np.array([self._classes[c] for _, c, _ in found], dtype=np.int64),
            crowd=np.array([crowd for _, _, crowd in found], dtype=bool),
        )

    def _by_image(self, annotations: Sequence[Mapping[str, Json]]) -> dict[Any, list[Any]]:
        """By the picture's number: x1, y1, x2, y2 of each box, its category, whether a crowd."""
        found: dict[Any, list[Any]] = {}
        for place, one in enumerate(annotations):
            where = f"{self.file}, annotation {one.get('id', place)}"
            box = one.get("bbox")
            try:
                x, y, width, height = map(float, box or ())
                if width < 0 or height < 0 or not np.isfinite([x, y, width, height]).all():
                    raise ValueError
            except (TypeError, ValueError):
                raise DataError(
                    f"its bbox {box!r} is no [x, y, width, height]", where=where, fix=_FIX
                ) from None
            if not width or not height:
                self.ignored += 1
                continue
            entry = ((x, y, x + width, y + height), one["category_id"], bool(one.get("iscrowd")))
            found.setdefault(one["image_id"], []).append(entry)
        return found


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("*.json"))
    if (path / "annotations.json").is_file():
        return path / "annotations.json"
    if len(found) == 1:
        return found[0]
    what = f"holds {', '.join(p.name for p in found)}" if found else "holds no JSON file"
    raise DataError(what, where=str(path), fix="give the one file, beside its folder images/")


def _parsed(path: Path) -> Mapping[str, Json]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be read as JSON ({error})", where=str(path), fix=_FIX) from None
    if not isinstance(content, dict):
        raise DataError("is not in COCO's form", where=str(path), fix=_FIX)
    return content
