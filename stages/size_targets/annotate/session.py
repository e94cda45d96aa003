"""The state of an annotation: what is asked in which order, and what has been answered, left out or trained."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from stages.core.faults import Fault
from stages.core.label_files import LabelFiles
from stages.size_targets.annotate.aids import BOXES, DECIMALS, GRIDS, percent_per_box
from stages.size_targets.annotate.answers import Answer, AnswerFile
from stages.size_targets.annotate.questions import Pair, Picture, Question, read_mask

NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{0,6})?|\.[0-9]{1,6}")
LONGEST = 86400.0  # seconds of an answer: a day
TRUTH_COLOUR = (255, 96, 0, 255)
TURNS = {  # what the orientations of EXIF (tag 0x0112) ask for
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Refused(ValueError):
    """An answer that cannot be taken; the message says why."""


@dataclass(frozen=True)
class Records:
    """The three files of an annotation, in one format.

    answers: of the real phase, which training uses.
    training: of the training phase, given before the true size was shown.
    skipped: pairs that the person could not tell, without a percentage.
    """

    answers: AnswerFile
    training: AnswerFile
    skipped: AnswerFile

    def holding(self, pair: Pair) -> Answer | None:
        """The answer to a pair in any of them; a number counts before `cannot tell`."""
        for file in (self.answers, self.training, self.skipped):
            if pair in file.answers:
                return file.answers[pair]
        return None


def open_records(out: Path, classes: Sequence[str], images: Sequence[str] | dict[str, Picture]) -> Records:
    """The file `out` with STEM_training.csv and STEM_skipped.csv beside it.

    Raises:
        Fault: a file cannot be used, or holds answers about other classes or other images.
    """
    files = [
        AnswerFile(out),
        AnswerFile(out.with_name(f"{out.stem}_training.csv")),
        AnswerFile(out.with_name(f"{out.stem}_skipped.csv"), blank=True),
    ]
    for file in files:
        names = sorted({name for _, name in file.answers} - set(classes))
        if names:
            raise Fault(
                f"{file.path} holds answers about {', '.join(names)}, which this session does not ask "
                f"({', '.join(classes)}); add them to --classes, or name another --out"
            )
        others = sorted({image for image, _ in file.answers} - set(images))
        if others:
            raise Fault(
                f"{file.path} holds answers about {len(others)} images that are not in --images, such as {others[0]}; "
                "name the folder they are in, or another --out"
            )
    return Records(*files)


def arrange(
    pairs: Sequence[Pair], training: dict[Pair, float], pictures: dict[str, Picture], records: Records
) -> list[Question]:
    """The questions in order: for each class the training phase, then the real one without the pairs trained with."""
    questions = []
    for name in dict.fromkeys(name for _, name in pairs):
        trained = [pair for pair in training if pair[1] == name]
        real = [
            pair for pair in pairs if pair[1] == name and pair not in training and pair not in records.training.answers
        ]
        questions += [Question(*pair, pictures[pair[0]], training[pair]) for pair in trained]
        questions += [Question(*pair, pictures[pair[0]]) for pair in real]
    return questions


class Session:
    """Answers by the number of their question; safe to use from several threads.

    Args:
        questions: in the order in which they are asked.
        records: where the answers go.
        images: the image files by id.
        aid: `box`, `grid` or `none`.
        unit: `percent` or `boxes`, in which answers are given.
        masks: the true label maps, for the training phase.
        class_list: the name of label n at n, for the training phase.
        tagged: every pair is known to be there, so that a size of 0 is no answer.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        records: Records,
        images: LabelFiles,
        aid: str,
        unit: str,
        masks: LabelFiles | None = None,
        class_list: Sequence[str] = (),
        tagged: bool = False,
    ) -> None:
        self.questions, self.records, self.images = questions, records, images
        self.aid, self.unit, self.tagged = aid, unit, tagged
        self._masks, self._class_list, self._lock = masks, class_list, Lock()

    def describe(self) -> dict[str, Any]:
        """What the page needs: the aid, and each question with its answer so far."""
        with self._lock:
            questions = [self._entry(question) for question in self.questions]
        return {
            "aid": self.aid,
            "unit": self.unit,
            "grids": GRIDS,
            "boxes": BOXES,
            "tagged": self.tagged,
            "out": self.records.answers.path.name,
            "questions": questions,
        }

    def _entry(self, question: Question) -> dict[str, Any]:
        answer = self.records.holding(question.pair)
        picture = question.picture
        return {
            "image": question.image,
            "class": question.name,
            "width": picture.width,
            "height": picture.height,
            "per_box": percent_per_box(self.aid, picture.width, picture.height),
            "training": question.truth is not None,
            "percent": answer and answer.percent,
            "skipped": answer is not None and answer.percent is None,
            "seconds": answer.seconds if answer else 0,
            "truth": question.truth if answer else None,  # never before the answer
        }

    def answer(self, number: int, value: str | None, scale: int, seconds: float) -> dict[str, Any]:
        """Saves the answer to question `number` and returns its entry, with the true size in the training phase.

        Args:
            number: of the question.
            value: the number as typed, in the session's unit; None for `cannot tell`.
            scale: of the grid or the box, 0 or 1.
            seconds: that it took; those of a correction are added to the earlier ones.

        Raises:
            Refused: there is no such question, or the value, the scale or the seconds are none; a training answer is
                changed after its true size was shown.
            OSError: it could not be saved.
        """
        if not 0 <= number < len(self.questions):
            raise Refused(f"there is no question {number}")
        if not 0 <= seconds <= LONGEST:
            raise Refused(f"{seconds} seconds are not between 0 and {LONGEST:g}")
        question = self.questions[number]
        percent = None if value is None else self.percent(question, value, scale)
        with self._lock:
            before = self.records.holding(question.pair)
            if question.truth is not None and before and before.percent is not None:
                if before.percent != percent:
                    raise Refused("the true size has been shown, so this answer stays")
                return self._entry(question)
            taken = round(seconds + (before.seconds if before else 0), DECIMALS)
            asked = self.records.answers if question.truth is None else self.records.training
            to, other = (self.records.skipped, asked) if percent is None else (asked, self.records.skipped)
            to.put(question.pair, Answer(percent, taken))
            other.drop(question.pair)  # second: a crash between the two loses nothing
            return self._entry(question)

    def percent(self, question: Question, value: str, scale: int) -> float:
        """A typed number in percent of the image's area, rounded.

        Raises:
            Refused: it is no number, or more than the image has, or 0 for a class that is there.
        """
        if not NUMBER.fullmatch(value):
            raise Refused(f"{value[:20]!r} is no number")
        per_box = percent_per_box(self.aid, question.picture.width, question.picture.height)
        if scale not in range(max(1, len(per_box))):
            raise Refused(f"there is no scale {scale}")
        percent = round(float(value) * (per_box[scale] if self.unit == "boxes" else 1), DECIMALS)
        if percent > 100:
            raise Refused(f"{percent:g} % is more than the image")
        if percent == 0 and (self.tagged or float(value)):
            raise Refused(
                f"the tags say that {question.name} is there, so it has a size" if self.tagged else "too small"
            )
        return percent

    def image(self, number: int) -> tuple[str, bytes]:
        """Media type and bytes of a question's image.

        Raises:
            Refused: there is no such question.
            BadMap: the file cannot be read.
        """
        if not 0 <= number < len(self.questions):
            raise Refused(f"there is no question {number}")
        question = self.questions[number]
        return question.picture.type, self.images.content(question.image)

    def truth(self, number: int) -> bytes:
        """The true mask of an answered training question, a PNG that is transparent elsewhere and turned as the image.

        Raises:
            Refused: there is no such question, or it is not answered yet.
            BadMap: the mask cannot be read.
        """
        known = 0 <= number < len(self.questions) and self.questions[number].truth is not None
        if not known or self._masks is None or self.records.holding(self.questions[number].pair) is None:
            raise Refused(f"question {number} has no truth to show")
        question = self.questions[number]
        mask = read_mask(self._masks, question.image, question.picture)
        shown = (mask == self._class_list.index(question.name))[..., None] * np.array(TRUTH_COLOUR, np.uint8)
        buffer = io.BytesIO()
        picture = Image.fromarray(shown)
        if question.picture.orientation in TURNS:
            picture = picture.transpose(TURNS[question.picture.orientation])
        picture.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
