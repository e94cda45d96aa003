"""The cardiac MRI of the ACDC challenge, NIfTI volumes, as raw.zip of 2-D slices: grey pictures and label maps.

Source: Bernard et al., Deep Learning Techniques for Automatic MRI Cardiac Multi-Structures Segmentation and Diagnosis:
Is the Problem Solved?, IEEE TMI 2018. In training/ and testing/ each folder patientNNN holds Info.cfg, which says the
numbers of the frames at end diastole (ED) and end systole (ES), and patientNNN_frameXX.nii.gz with
patientNNN_frameXX_gt.nii.gz of these two: 0 background, 1 right ventricle, 2 myocardium, 3 left ventricle.

Papers prepare ACDC in different ways, so here is what is done: the grey values of a volume are cut at two of its
percentiles and become 0..255, whole numbers; each of its slices is a picture, also those without a label; where a
`spacing` is given, pictures are resampled to it within the plane (areas averaged where they shrink, bilinear where they
grow, labels nearest). Rows run along the volume's second axis, columns along its first.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import nibabel
import numpy as np

from stages.core.dataset import RAW_PREFIX
from stages.core.faults import combine
from stages.core.files import csv_text, encode_png, write_zip
from stages.core.locations import read_location
from stages.core.params import Params
from stages.core.pool import process_map
from stages.download.acdc_patients import Patient, find_patients
from stages.download.source import INDEX_COLUMNS

PHASES = ("ED", "ES")
LABELS = 4
SUFFIXES = (".nii.gz", ".nii")
GZIP = b"\x1f\x8b"
MOST_BYTES = 1 << 26  # of a volume, unpacked; those of ACDC have a few megabytes
SLICE_COLUMNS = (
    "id", "folder", "patient", "group", "phase", "slice", "height", "width", "spacing_y", "spacing_x", "spacing_z",
)  # fmt: skip


class File(NamedTuple):
    """A file's name, for messages, and its location."""

    name: str
    location: str


@dataclass(frozen=True)
class Frame:
    """One volume: its patient, in which folder, the patient's group, ED or ES, two files."""

    patient: str
    folder: str
    group: str
    phase: str
    image: File
    labels: File


@dataclass(frozen=True)
class Slices:
    """What became of a frame: rows of slices.csv, PNG bytes by member of raw.zip, or faults."""

    rows: list[dict[str, object]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def write_slices(path: Path, name: str, source: Path, data: Params) -> None:
    """Writes raw.zip of a data set: images/ID.png, masks/ID.png, slices.csv (sizes in pixels and mm), index.csv.

    IDs are as patient001_ED_00, slices counted from 0.

    Args:
        path: the zip to write.
        name: the data set's name.
        source: see `find_patients`.
        data: `clip`, two percentiles of a volume that become 0 and 255; `spacing`, in mm, or none to leave it;
            `archives`, if it is to be downloaded.

    Raises:
        Fault: files are missing, broken or no such volumes; all of them are named.
    """
    faults: list[str] = []
    frames = [frame for patient in find_patients(name, source, data) for frame in frames_of(patient, faults)]
    rows, index = [], []
    with write_zip(path) as archive:
        for result in process_map(partial(to_slices, data.clip, data.spacing), frames, "slices", len(frames)):
            faults += result.faults
            rows += result.rows
            for member, content in result.files.items():
                archive.bytes(member, content)
                digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
                index.append({"name": member, "location": RAW_PREFIX + member, "size": len(content), "md5": digest})
        if faults:
            raise combine(f"data set {name} of {source} cannot be used", faults)
        archive.text("slices.csv", csv_text(rows, SLICE_COLUMNS))
        archive.text("index.csv", csv_text(sorted(index, key=lambda row: row["name"]), INDEX_COLUMNS))


def frames_of(patient: Patient, faults: list[str]) -> list[Frame]:
    """The frames of a patient; `faults` gets what is missing."""
    try:
        about = read_info(patient.files.get("Info.cfg"))
    except ValueError as error:
        faults.append(f"{patient.title}/Info.cfg: {error}")
        return []
    frames = []
    for phase in PHASES:
        stem = f"{patient.name}_frame{int(about[phase]):02d}"
        names = [
            next((name for suffix in SUFFIXES if (name := f"{stem}{end}{suffix}") in patient.files), None)
            for end in ("", "_gt")
        ]
        faults += [
            f"{patient.title}/{stem}{end}{SUFFIXES[0]} is missing; Info.cfg says that it is {phase}"
            for end, name in zip(("", "_gt"), names, strict=True)
            if name is None
        ]
        if None not in names:
            files = (File(f"{patient.title}/{name}", patient.files[name]) for name in names)
            frames.append(Frame(patient.name, patient.folder, about.get("Group", ""), phase, *files))
    return frames


def read_info(location: str | None) -> dict[str, str]:
    """The lines `key: value` of Info.cfg.

    Raises:
        ValueError: it is missing or cannot be read, or does not say the numbers of the frames.
    """
    if location is None:
        raise ValueError("it is missing")
    try:
        lines = read_location(location).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read: {error}") from None
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    missing = [phase for phase in PHASES if not re.fullmatch(r"\d{1,4}", about.get(phase, ""))]
    if missing:
        raise ValueError(f"says no frame number for {' and '.join(missing)}, as in `ED: 1`")
    return about


def to_slices(clip: tuple[float, float], spacing: float | str, frame: Frame) -> Slices:
    """The pictures and label maps of a frame."""
    faults: list[str] = []
    volumes, steps = [], (1.0, 1.0, 1.0)
    for file in (frame.image, frame.labels):
        try:
            volume, steps = read_volume(file.location)
            volumes.append(volume)
        except ValueError as error:
            faults.append(f"{file.name}: {error}")
    if not faults:
        image, labels = volumes
        if labels.shape != image.shape:
            other = frame.image.name.rpartition("/")[2]
            faults.append(f"{frame.labels.name}: of shape {labels.shape}, but {other} is of {image.shape}")
        if not np.isin(labels, range(LABELS)).all():
            faults.append(f"{frame.labels.name}: labels other than 0 to {LABELS - 1}")
    if not faults:
        try:
            grey = to_grey(image, clip)
        except ValueError as error:
            faults.append(f"{frame.image.name}: {error}")
    if faults:
        return Slices(faults=faults)
    rows, files = [], {}
    for number in range(image.shape[2]):
        picture, mask = (array[:, :, number].T for array in (grey, labels.astype(np.uint8)))
        if spacing != "none":
            picture, mask = resampled(picture, mask, (steps[1] / spacing, steps[0] / spacing))
        slice_id = f"{frame.patient}_{frame.phase}_{number:02d}"
        files |= {f"images/{slice_id}.png": encode_png(picture), f"masks/{slice_id}.png": encode_png(mask)}
        within = (steps[1], steps[0]) if spacing == "none" else (spacing, spacing)
        about = (slice_id, frame.folder, frame.patient, frame.group, frame.phase, number)
        rows.append(dict(zip(SLICE_COLUMNS, (*about, *mask.shape, *within, steps[2]), strict=True)))
    return Slices(rows, files)


def read_volume(location: str) -> tuple[np.ndarray, tuple[float, float, float]]:
    """A NIfTI volume (X, Y, Z) with its scaling applied, and its spacing in mm along each axis.

    Raises:
        ValueError: it cannot be read, is no volume, or unpacks to more than such a volume has.
    """
    try:
        content = read_location(location)
        if content.startswith(GZIP):
            unpacker = zlib.decompressobj(31)
            content = unpacker.decompress(content, MOST_BYTES)
            if not unpacker.eof:
                raise ValueError(f"cut off, or more than {MOST_BYTES} bytes")
        image = nibabel.Nifti1Image.from_bytes(content)
        claimed = math.prod(image.shape) * image.get_data_dtype().itemsize
        if not 0 <= claimed <= min(len(content), MOST_BYTES):  # nibabel takes the memory before it reads
            raise ValueError(f"{len(content)} bytes for a volume of shape {image.shape}, which needs {claimed}")
        volume = np.asarray(image.dataobj)
        steps = tuple(float(step) for step in image.header.get_zooms()[:3])
    except Exception as error:  # nibabel's parser has its own dozen for broken bytes
        raise ValueError(f"no whole NIfTI volume: {type(error).__name__}: {error}"[:300]) from None
    if volume.ndim != 3 or not volume.size or volume.dtype.kind not in "iuf" or not np.isfinite(volume).all():
        raise ValueError(f"of shape {volume.shape} and type {volume.dtype}; it must be one volume of finite numbers")
    if not all(0 < step < 1000 for step in steps):
        raise ValueError(f"a spacing of {steps} mm")
    return volume, steps


def to_grey(volume: np.ndarray, clip: tuple[float, float]) -> np.ndarray:
    """Values cut at two percentiles of the volume and spread over 0..255, uint8.

    Raises:
        ValueError: the percentiles are the same value.
    """
    low, high = np.percentile(volume, clip)
    if not high > low:
        raise ValueError(f"the percentiles {clip[0]} and {clip[1]} of its values are both {low:g}")
    return np.round(np.clip((volume - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def resampled(picture: np.ndarray, mask: np.ndarray, factors: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its mask (H, W) uint8 with sides of `factors` times theirs, rounded and at least 1."""
    height, width = (max(round(side * factor), 1) for side, factor in zip(mask.shape, factors, strict=True))
    how = cv2.INTER_AREA if height * width < mask.size else cv2.INTER_LINEAR
    return (
        cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=how),
        cv2.resize(np.ascontiguousarray(mask), (width, height), interpolation=cv2.INTER_NEAREST_EXACT),
    )
