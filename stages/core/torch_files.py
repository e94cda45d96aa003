"""Files of `torch.save`: nothing in them is executed, and they take no more memory than they have bytes.

`torch.load` with `weights_only` calls no code of the file's choice. What it does call can still fill the memory from a
file of some hundred bytes: a name that makes as many bytes as it is told, members of the zip that are packed, tensors
that repeat one number. Weights need none of these, so they are refused.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

from stages.core.files import read_member

NAMES = {
    *("collections OrderedDict", "collections Counter", "torch.nn.parameter Parameter"),
    *("torch.storage UntypedStorage", "torch.storage TypedStorage", "torch.serialization _get_layout"),
    *(f"torch._utils _rebuild_{what}" for what in ("tensor", "tensor_v2", "parameter", "parameter_with_state")),
}
LEGACY_PICKLES = 5  # of a file from before torch 1.6: magic number, version, machine, content, keys
SHARED = 4  # times the file's bytes, of all tensors together: some share their numbers


class UnsafeError(Exception):
    """A file that is not loaded, or whose content cannot be used; the message says why."""


def load_tensors(path: Path) -> Any:
    """The content of a file of `torch.save`, on the CPU.

    Raises:
        OSError: it cannot be read.
        UnsafeError: it would execute something or fill the memory, or is no such file.
    """
    if path.exists() and not path.is_file():
        raise UnsafeError("no file")
    with path.open("rb") as file:
        try:
            inspect(file, path.stat().st_size)
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
        except UnsafeError:
            raise
        except Exception as error:  # torch, zipfile and pickle raise many kinds; torch's text advises what is unsafe
            raise UnsafeError(f"torch.load refuses it with {type(error).__name__}") from None
    check_tensors(content, path.stat().st_size)
    return content


def inspect(file: BinaryIO, size: int) -> None:
    """Refuses packed or damaged members, and names that no weights need.

    Raises:
        UnsafeError: see above.
    """
    if not zipfile.is_zipfile(file):
        file.seek(0)
        for _ in range(LEGACY_PICKLES):
            check_names(file)
        return
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        packed = [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]
        if packed or sum(member.file_size for member in members) > size:
            raise UnsafeError("its parts are packed or overlap, which torch.save does not do")
        if (wrong := archive.testzip()) is not None:
            raise UnsafeError(f"it is damaged at member {wrong!r}: torch does not look at the checksums that it writes")
        for member in members:
            if member.filename.endswith("data.pkl"):
                check_names(read_member(archive, member))


def check_names(program: bytes | BinaryIO) -> None:
    """Reads a pickle without doing what it says, and refuses names that no weights need.

    Raises:
        UnsafeError: see above.
    """
    for opcode, argument, _ in pickletools.genops(program):
        if "GLOBAL" in opcode.name or opcode.name == "INST":
            text = str(argument)
            if text not in NAMES and not text.startswith("torch "):  # types of numbers, storages, sizes, devices
                raise UnsafeError(
                    f"it wants {text.replace(' ', '.')[:80]!r}, which no weights need; nothing was executed"
                )


def check_tensors(content: Any, size: int) -> None:
    """Refuses tensors that are no plain arrays, or that are larger than what they are stored in.

    Raises:
        UnsafeError: see above.
    """
    total = 0
    for tensor in tensors_in(content):
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        needed = tensor.numel() * tensor.element_size()
        if not plain or needed > tensor.untyped_storage().nbytes():
            raise UnsafeError(f"a tensor of shape {tuple(tensor.shape)} is more than the numbers that it is stored in")
        total += needed
    if total > SHARED * size:
        raise UnsafeError(f"its tensors have {total} bytes, the file {size}")


def tensors_in(content: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested dictionaries and lists, each container once."""
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value
