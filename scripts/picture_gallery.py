"""Draw every picture that fercli draws, from runs made now: docs/gallery and its page.

python scripts/picture_gallery.py [--keep FOLDER]

All faces are synthetic, or scikit-image's astronaut, which is in the public domain. With --keep the
runs stay in a folder, and what is there already is not made again. Needs the group `test`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageFilter
from skimage import data

from fercli.data.synthetic import render_synthetic_faces

ROOT: Final = Path(__file__).parents[1]
GALLERY: Final = ROOT / "docs" / "gallery"
WIDTH: Final = 900
"""Of a picture that is kept, in pixels, at most."""
QUALITY: Final = 82
HEAD: Final = """\
# Gallery

Every picture that fercli draws. Each was drawn by the command above it, and `python
scripts/picture_gallery.py` runs them all. The network was trained for this page on synthetic
faces (`fer data prepare synthetic:3000`), so the scores show that the tool works, and say
nothing about real faces. The woman is Eileen Collins, photographed by NASA.
"""


@dataclass(frozen=True)
class Shown:
    """A picture of the page."""

    name: str
    """Of the file in the gallery, without its ending."""
    source: str
    """The picture that the command wrote."""
    text: str
    """What is to be seen, for those who do not see it, and under the picture."""


@dataclass(frozen=True)
class Section:
    """A command, and the pictures that it wrote."""

    title: str
    command: str
    shown: tuple[Shown, ...]
    before: tuple[str, ...] = ()
    """Commands that the page does not show."""


SECTIONS: Final = (
    Section(
        "A training",
        "fer train --recipe fast --epochs 10 --output runs/fast --force",
        (Shown("curves", "runs/fast/curves.png", "Loss and accuracy over the epochs"),),
    ),
    Section(
        "Scores",
        "fer evaluate runs/fast --split public --output scores --force",
        (
            Shown("confusion-matrix", "scores/confusion-matrix.png", "Who is taken for whom"),
            Shown("per-class", "scores/per-class.png", "Precision, recall and F1 of each label"),
            Shown(
                "reliability", "scores/reliability.png", "Is a confidence of 80 % right in 80 %?"
            ),
            Shown("coverage", "scores/coverage.png", "What each --min-confidence costs and brings"),
            Shown("mistakes", "scores/mistakes.png", "The most confident mistakes"),
            Shown("samples", "scores/samples.png", "Images taken by chance"),
        ),
    ),
    Section(
        "Under worse conditions",
        "fer evaluate runs/fast --split public --robustness --output hard --force",
        (Shown("robustness", "hard/robustness.png", "Accuracy of blurred, noisy, dark images"),),
    ),
    Section(
        "A comparison",
        "fer compare runs/fast runs/small --split public --output comparison --force",
        (
            Shown("cost", "comparison/cost.png", "Accuracy over parameters, size and speed"),
            Shown("compare-curves", "comparison/curves.png", "Both trainings"),
            Shown("disagreements", "comparison/disagreements.png", "Where the models disagree"),
        ),
        before=(
            "fer train --recipe fast --epochs 4 --set widths=16,32,64 --output runs/small --force",
        ),
    ),
    Section(
        "Where an answer comes from",
        "fer explain photo.jpg --model plus --output maps --force",
        (Shown("explain", "maps/0001-photo.png", "Occlusion: red carries the answer"),),
    ),
    Section(
        "By a run there are gradients, too",
        "fer explain one.png --model runs/fast --output maps --force",
        (Shown("explain-run", "maps/0001-one.png", "Occlusion and LayerCAM of a synthetic face"),),
    ),
    Section(
        "A network",
        "fer info runs/fast --diagram network.png",
        (Shown("network", "network.png", "Layers, shapes and parameters"),),
    ),
    Section(
        "Photos",
        "fer predict photo.jpg --model plus --annotate framed --montage sheet.png --force",
        (
            Shown("annotated", "framed/photo.jpg", "Faces framed and named"),
            Shown("montage", "sheet.png", "A sheet of the faces"),
        ),
    ),
    Section(
        "A video over time",
        "fer predict clip.mp4 --model plus --smooth 1s --timeline faces.png --force",
        (Shown("timeline", "faces.png", "Probabilities of each label over the time of a clip"),),
    ),
    Section(
        "A dataset",
        "fer data check --output audit --force",
        (
            Shown("mean-faces", "audit/mean-faces.png", "The mean image of each label"),
            Shown("sheet", "audit/sheet-3-happy.png", "80 images of a label"),
        ),
    ),
)


def main() -> None:
    """Write the pictures and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="folder where the runs stay")
    keep = parser.parse_args().keep
    GALLERY.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = keep.resolve() if keep else Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        make_inputs(folder)
        for section in SECTIONS:
            for command in (*section.before, section.command):
                if not all((folder / one.source).exists() for one in section.shown):
                    call(command, folder)
            for one in section.shown:
                shrink(folder / one.source, GALLERY / f"{one.name}.webp")
    (GALLERY / "index.md").write_text(build_page(), encoding="utf-8")
    size = sum(path.stat().st_size for path in GALLERY.glob("*.webp"))
    print(f"{GALLERY}: {size:,} bytes in {len(list(GALLERY.glob('*.webp')))} pictures")


def build_page() -> str:
    """Return the page of the gallery."""
    parts = [HEAD]
    for section in SECTIONS:
        parts.append(f"## {section.title}\n\n```bash\n{section.command}\n```\n")
        parts += [
            f"![{one.text}]({one.name}.webp)\n\n*{one.text}: `{one.source}`*\n"
            for one in section.shown
        ]
    return "\n".join(parts)


def make_inputs(folder: Path) -> None:
    """Write a photo, a clip and a prepared dataset."""
    astronaut = Image.fromarray(data.astronaut())
    astronaut.save(folder / "photo.jpg", quality=92)
    if not (folder / "clip.mp4").exists():
        make_clip(folder / "clip.mp4", astronaut)
    if not (folder / "home" / "fer2013.safetensors").exists():
        call("fer data prepare synthetic:3000", folder)
    happy = np.array([3], dtype=np.uint8)
    (face,) = render_synthetic_faces(happy, np.random.default_rng(5))
    Image.fromarray(face).save(folder / "one.png")


def make_clip(path: Path, astronaut: Image.Image) -> None:
    """Write twelve seconds of a face that smiles, and now and then is out of focus."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (512, 384))
    for phase in np.linspace(0, 4 * np.pi, 300, endpoint=False):
        blur = max(0.0, float(8 * np.sin(phase)))
        frame = astronaut.crop((0, 0, 512, 384)).filter(ImageFilter.GaussianBlur(blur))
        writer.write(np.ascontiguousarray(np.asarray(frame)[:, :, ::-1]))
    writer.release()


def call(command: str, folder: Path) -> None:
    """Run a command of ours in the folder."""
    print(command, flush=True)
    subprocess.run(  # noqa: S603  # our own commands
        [sys.executable, "-m", "fercli", *shlex.split(command)[1:]],
        cwd=folder,
        env={**os.environ, "FERCLI_HOME": str(folder / "home"), "NO_COLOR": "1"},
        check=True,
    )


def shrink(source: Path, target: Path) -> None:
    """Keep a picture as WebP, no wider than the page."""
    picture = Image.open(source).convert("RGB")
    picture.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
    picture.save(target, quality=QUALITY, method=6)


if __name__ == "__main__":
    main()
