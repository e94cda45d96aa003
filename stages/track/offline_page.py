"""`python -m stages.track.offline_page`: pages of plots that need no network.

The template of the pages, .dvc/plots/page.html, names its scripts by address and checksum. This command writes a
template with the scripts inside, .scratch/page.html, and tells DVC's configuration of this clone to use it: every
`dvc plots show` and `dvc plots diff` then makes a page that can be opened, or sent, where no network is.
`dvc config --local --unset plots.html_template` goes back.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from stages.core.command import exit_on_fault
from stages.core.faults import Fault, combine
from stages.core.files import atomic

TEMPLATE, OFFLINE = Path(".dvc/plots/page.html"), Path(".scratch/page.html")
SCRIPT = re.compile(
    r'<script src="(?P<address>https://[^"]+)" integrity="sha384-(?P<digest>[\w+/=]+)" crossorigin="anonymous">'
    r"</script>"
)
MARKUP = re.compile(r"<(?=/script|!--)", re.IGNORECASE)  # would end or hide the element that a script stands in
PATIENCE = 60  # seconds


def downloaded(address: str) -> bytes:
    """The file at an address that the template names.

    Raises:
        Fault: it could not be had.
    """
    try:
        with urlopen(address, timeout=PATIENCE) as reply:  # noqa: S310 - SCRIPT takes https only
            return reply.read()
    except (URLError, OSError) as error:
        hint = f"download it elsewhere and name its folder: --scripts FOLDER with {address.rsplit('/', 1)[1]} in it"
        raise Fault(f"{address}: {error}; {hint}") from None


def from_folder(folder: Path) -> Callable[[str], bytes]:
    """A function that reads, for an address, the file of its last part in a folder."""

    def read(address: str) -> bytes:
        path = folder / address.rsplit("/", 1)[1]
        try:
            return path.read_bytes()
        except OSError as error:
            raise Fault(f"{path}: {error.strerror}; it is the file at {address}") from None

    return read


def verified(address: str, digest: str, content: bytes) -> str:
    """The text of a script whose SHA-384 is the template's.

    Raises:
        Fault: it is another file.
    """
    found = base64.b64encode(hashlib.sha384(content).digest()).decode()
    if found != digest:
        raise Fault(f"{address}: the checksum is sha384-{found}, and {TEMPLATE} asks for sha384-{digest}")
    return content.decode()


def inlined(template: str, read: Callable[[str], bytes]) -> str:
    """A template with its scripts inside.

    Args:
        template: has a `script` element for each, with address and checksum.
        read: gives the content of an address.

    Raises:
        Fault: a script cannot be had or is another file; all of them are listed.
    """
    texts, faults = {}, []
    for match in SCRIPT.finditer(template):
        address, digest = match["address"], match["digest"]
        try:
            texts[address] = verified(address, digest, read(address))
        except Fault as fault:
            faults.append(str(fault))
    if faults:
        raise combine("the scripts of the page", faults)
    safe = {address: MARKUP.sub(r"<\\", text) for address, text in texts.items()}  # the same to JavaScript
    return SCRIPT.sub(lambda match: f"<script>{safe[match['address']]}</script>", template)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m stages.track.offline_page", description=__doc__.splitlines()[0])
    parser.add_argument("--scripts", type=Path, metavar="FOLDER", help="has the scripts, which else are downloaded")
    folder = parser.parse_args().scripts
    page = inlined(TEMPLATE.read_text(encoding="utf-8"), from_folder(folder) if folder else downloaded)
    OFFLINE.parent.mkdir(exist_ok=True)
    with atomic(OFFLINE) as path:
        path.write_text(page, encoding="utf-8")
    relative = Path("..") / OFFLINE  # DVC reads it from .dvc
    command = ["dvc", "config", "--local", "plots.html_template", relative.as_posix()]
    if subprocess.run(command, check=False).returncode:  # noqa: S603 - no shell, and the arguments are ours
        raise Fault("dvc config failed; see above")
    print(f"{OFFLINE} is the template of this clone's pages; they need no network")  # noqa: T201


if __name__ == "__main__":
    with exit_on_fault("offline page"):
        main()
