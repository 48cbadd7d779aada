"""`fer predict`: expressions of faces in photos and videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fercli.cli._command import register
from fercli.cli._options import (
    DeviceOption,
    ForceOption,
    PhotoModelOption,
    build_parameters,
    drop_untyped,
)
from fercli.cli._output import Outcome, Output
from fercli.cli._predict_engine import ENGINES, choose_engine
from fercli.cli._predict_outputs import FORMATS
from fercli.cli._predict_pictures import WantedPictures
from fercli.cli._predict_request import PredictRequest
from fercli.cli._predict_rows import predict_rows
from fercli.cli._predict_shard import predict_shard
from fercli.cli._predict_sources import choose_live_source
from fercli.config import PredictConfig, list_options

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "predict", fields=build_parameters(list_options(PredictConfig)))(predict_command)


def predict_command(
    output: Output,
    *,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Photos, videos, folders (searched), archives (zip, tar), Parquet files, "
            "patterns, s3://, gs:// or az:// addresses, or - for paths on stdin; or a camera's "
            "number, or an rtsp:// or http:// address.",
        ),
    ],
    model: PhotoModelOption = None,
    labels_of: Annotated[
        str | None,
        typer.Option(
            metavar="fer2013",
            help="Use FER2013's seven labels only: they share the probability of FER+'s contempt "
            "in proportion. Default: the model's own labels.",
            autocompletion=lambda: ["fer2013"],
        ),
    ] = None,
    row_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join(FORMATS),
            help="Format of the rows. Default: by the ending of --output, else table.",
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Write rows to a file; with --shard the folder of the parts.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue with --output: files that have rows, and finished parts, are skipped.",
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Predict shard K of N, from 0 to N - 1, and write its part into the folder "
            "--output; fer merge joins the parts.",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="|".join(ENGINES),
            help="local: this process; ray: the actors of a Ray cluster (extra ray).",
            autocompletion=lambda: list(ENGINES),
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto",
            help="With --engine ray: the cluster. Default: RAY_ADDRESS, else a temporary cluster "
            "on this machine's processors.",
        ),
    ] = None,
    excel: Annotated[
        bool,
        typer.Option("--excel", help="CSV for spreadsheets: with a UTF-8 mark and 4 digits."),
    ] = False,
    ext: Annotated[
        list[str] | None,
        typer.Option(
            metavar="jpg,png",
            help="Take only files with these endings from folders and archives.",
        ),
    ] = None,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE.webm|.mp4",
            help="Write images and videos with faces framed and labeled; one video to FILE.webm, "
            "or as H.264 with its sound to FILE.mp4 (extra video).",
        ),
    ] = None,
    sort_into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy files into folders by the label of the main face."),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="With --sort-into: links instead of copies.")
    ] = False,
    montage: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Write a contact sheet of the faces with labels."),
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png|.html", help="Videos: write a chart of each track's probabilities."
        ),
    ] = None,
    device: DeviceOption = None,
    force: ForceOption = False,
    **typed: Any,  # noqa: ANN401  # the options that fields of the configuration declare
) -> Outcome:
    """Classify the expressions of faces in photos, videos, streams.

    An image of up to 96 pixels is taken as one face; in larger images, faces are detected. Each
    face is a row: file, label, confidence, probabilities, box. A photo without a face also gets a
    row, and so does a file that cannot be read, with the reason. Other files in a folder are
    counted and ignored. In a video, each sampled frame gives rows with its time and the track
    number of each face; a camera runs until --end or Ctrl-C. An ONNX model runs without torch.

    Exit status: 0 done, 2 bad options, 3 a path or camera is missing or nothing was found, 4 model
    missing or refused, 5 no such device or cluster, or a store refused the credentials, 7 some
    files could not be read or a live source was lost, 8 a store or cluster was lost, 130, 143 or
    129 stopped by Ctrl-C, SIGTERM or a closed terminal (rows of a live source are complete).

    Examples:
      fer predict faces/
      fer predict faces/ photo.jpg --model runs/fast --format csv > rows.csv
      fer predict faces/ --ext jpg,png --min-face 40 --excel --output faces.csv --force
      fer predict faces/ --annotate framed/ --montage sheet.png --force
      fer predict faces/ --sort-into sorted/ --link --force
      fer predict clip.mp4 --every 0.5s --smooth 1s --output clip.csv
      fer predict clip.mp4 --annotate framed/ --timeline clip.html --force
      fer predict 0 --end 10s --smooth 1s --output camera.csv
      fer predict faces/ --shard 0/8 --output parts --resume
      fer predict dataset.parquet --image-column image --output rows.csv
      fer predict faces/ --engine ray --output rows.jsonl
      ls *.png | fer predict - --model model.onnx --output rows.jsonl
    """
    request = PredictRequest(
        paths=paths, model=model, labels_of=labels_of, device=device, target=target,
        row_format=row_format, ext=ext or [],
        pictures=WantedPictures(annotate, sort_into, link, montage, timeline, force, resume),
        for_excel=excel, resume=resume, force=force, fields=drop_untyped(typed),
    )  # fmt: skip
    source = choose_live_source(paths, resume=resume, sorts=sort_into is not None)
    request.check_labels_of()
    alone = [
        name
        for name, value in {
            "--annotate": annotate, "--sort-into": sort_into, "--montage": montage,
            "--timeline": timeline, "--link": link, "a live source": source,
        }.items()
        if value
    ]  # fmt: skip
    computes = choose_engine(engine, address, alone)
    if shard is not None:
        return predict_shard(output, request, shard, computes, alone)
    return predict_rows(output, request, source, computes)
