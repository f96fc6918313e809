"""A JSON file in COCO's form, or a folder of VOC's XML -> pictures, and the boxes in each.

COCO's file is read as a whole, as its form demands; XML and pictures are read one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder

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
            what = f"is not in COCO's form ({type(error).__name__}: {error})"
            raise DataError(what, where=str(self.file), fix=_FIX) from None
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
        boxes = self._boxes.get(number, [])
        return _as_boxes([(box, self._classes[c], crowd) for box, c, crowd in boxes])

    def _by_image(self, annotations: Sequence[Mapping[str, Json]]) -> dict[Any, list[Any]]:
        """By the picture's number: x1, y1, x2, y2 of each box, its category, whether a crowd."""
        by_image: dict[Any, list[Any]] = {}
        for place, one in enumerate(annotations):
            where = f"{self.file}, annotation {one.get('id', place)}"
            box = one.get("bbox")
            try:
                x, y, width, height = map(float, box or ())
                if width < 0 or height < 0 or not np.isfinite([x, y, width, height]).all():
                    raise ValueError
            except (TypeError, ValueError):
                what = f"its bbox {box!r} is no [x, y, width, height]"
                raise DataError(what, where=where, fix=_FIX) from None
            if not width or not height:
                self.ignored += 1
                continue
            entry = ((x, y, x + width, y + height), one["category_id"], bool(one.get("iscrowd")))
            by_image.setdefault(one["image_id"], []).append(entry)
        return by_image


def _as_boxes(rows: Sequence[tuple[Any, int, bool]]) -> Boxes:
    """Corners, class and whether it counts neither way, of each."""
    return Boxes(
        np.array([box for box, _, _ in rows], dtype=np.float32).reshape(-1, 4),
        np.array([of for _, of, _ in rows], dtype=np.int64),
        crowd=np.array([crowd for _, _, crowd in rows], dtype=bool),
    )


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    files = sorted(path.glob("*.json"))
    if (path / "annotations.json").is_file():
        return path / "annotations.json"
    if len(files) == 1:
        return files[0]
    what = f"holds {', '.join(p.name for p in files)}" if files else "holds no JSON file"
    raise DataError(what, where=str(path), fix="give the one file, beside its folder images/")


def _parsed(path: Path) -> Mapping[str, Json]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be read as JSON ({error})", where=str(path), fix=_FIX) from None
    if not isinstance(content, dict):
        raise DataError("is not in COCO's form", where=str(path), fix=_FIX)
    return content


# ---------------------------------------------------------------- VOC's form

_XML = "Annotations"
_PICTURES = ("JPEGImages", "images")
_MOST_XML = 1 << 22  # bytes of one picture's annotation
_VOC_FIX = "give VOC's form: Annotations/NAME.xml with an object for each box, and JPEGImages/"


def is_voc(path: Path) -> bool:
    """Whether it is a folder with VOC's XML in it."""
    return (path / _XML).is_dir()


class VocBoxes(Data):
    """The pictures that a folder's Annotations/*.xml are of, by name, and the boxes of each.

    The pictures lie in JPEGImages/ (or images/) under the name that their annotation gives.
    Corners are VOC's, which count pixels from 1 and include the last: x1 and y1 are one less here.
    Objects that are marked difficult count neither way, as in VOC's own scoring. Names are found
    among the labels; without labels a class is the name's place among all of them, sorted. One
    picture's XML is read at a time, and a document that declares a type, by which XML grows without
    bound or reads other files, is refused. Raises DataError.
    """

    kind = "pictures"

    def __init__(self, path: str | Path, labels: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self._files = sorted((self.path / _XML).glob("*.xml"))
        if not self._files:
            raise DataError("holds no XML", where=str(self.path / _XML), fix=_VOC_FIX)
        self.folder = next((self.path / n for n in _PICTURES if (self.path / n).is_dir()), None)
        if self.folder is None:
            raise DataError("has no JPEGImages/", where=str(self.path), fix=_VOC_FIX)
        self.ignored = 0
        used: set[str] = set()
        for file in self._files:
            _, boxes = _annotated(file)
            used |= {name for _, name, _ in boxes}
            self.ignored += sum(box is None for box, _, _ in boxes)
        self._classes: Mapping[Any, int] = {name: n for n, name in enumerate(sorted(used))}
        if labels:
            self._classes = matched(
                sorted(used), labels, what="the names of objects", where=str(self.path / _XML),
                fix="name each object like the model's label, or give the labels with --labels",
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self._files)

    def records(self, picks: Sequence[int] | None = None) -> Iterator[Record]:
        assert self.folder is not None
        for file in self._files if picks is None else [self._files[i] for i in picks]:
            name, boxes = _annotated(file)
            path = self.folder / name
            data = pictures.read(path)
            picture = pictures.decode(data, where=str(path))
            kept = [(box, self._classes[of], hard) for box, of, hard in boxes if box is not None]
            yield Record(name, sha256(data).hexdigest(), picture, _as_boxes(kept))


_Box = tuple[tuple[float, float, float, float] | None, str, bool]


def _annotated(path: Path) -> tuple[str, list[_Box]]:
    """A picture's file name, and of each object the corners (None where they enclose nothing), the
    name and whether it is difficult."""
    root = _xml(path)
    # Some tools write a path of their own machine there.
    name = (root.findtext("filename") or "").replace("\\", "/").rpartition("/")[2].strip()
    name = name or f"{path.stem}.jpg"
    boxes: list[_Box] = []
    for place, one in enumerate(root.iter("object")):
        where = f"{path}, object {place + 1}"
        box, of = one.find("bndbox"), (one.findtext("name") or "").strip()
        if not of or box is None:
            raise DataError("has no name, or no bndbox", where=where, fix=_VOC_FIX)
        numbers = [(box.findtext(k) or "").strip() for k in ("xmin", "ymin", "xmax", "ymax")]
        try:
            x1, y1, x2, y2 = map(float, numbers)
            if not np.isfinite([x1, y1, x2, y2]).all():
                raise ValueError
        except ValueError:
            what = f"its bndbox holds {', '.join(s or 'nothing' for s in numbers)}"
            raise DataError(what, where=where, fix=_VOC_FIX) from None
        corners = (x1 - 1, y1 - 1, x2, y2)
        empty = x2 < x1 or y2 < y1
        hard = (one.findtext("difficult") or "").strip() == "1"
        boxes.append((None if empty else corners, of, hard))
    return name, boxes


def _xml(path: Path) -> Element:
    """The root of a small document without a DOCTYPE."""
    from xml.parsers import expat

    try:
        data = path.read_bytes() if path.stat().st_size <= _MOST_XML else None
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise DataError(what, where=str(path), fix=_VOC_FIX) from None
    if data is None:
        raise DataError(f"is larger than {_MOST_XML} bytes", where=str(path), fix=_VOC_FIX)
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*_: object) -> None:
        what = "declares a document type, which no annotation needs"
        raise DataError(what, where=str(path), fix="take its <!DOCTYPE …> out")

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, RecursionError) as error:
        raise DataError(f"cannot be read as XML ({error})", where=str(path), fix=_VOC_FIX) from None
    return builder.close()
