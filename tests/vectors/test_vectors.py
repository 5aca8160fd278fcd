"""The files of test vectors are what this project encodes and decodes, and the check of other encoders finds faults."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from neuron_node.activations import quiet
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.codec import decode, encode
from neuron_node.errors import PeerError
from neuron_node.frames import DataKind, parse, split
from neuron_node.protocol import KINDS
from tests.made_messages import alike
from tests.vectors import FILES, control_of, data_of, fields_of_control, fields_of_data, vectors
from tests.vectors.__main__ import check, main, questions
from tests.vectors.make import made


@pytest.mark.parametrize("name", FILES)
def test_files_of_vectors_are_those_that_the_code_makes(name: str) -> None:
    """`python -m tests.vectors.make` writes them anew; a difference is a change of the protocol."""
    assert vectors(name) == made()[name]


@pytest.mark.parametrize("entry", vectors("data"), ids=lambda entry: entry["kind"])
def test_data_frames_are_encoded_and_decoded(entry: dict[str, Any]) -> None:
    """From fields to bytes, and back."""
    fields = {key: value for key, value in entry.items() if key != "frame"}
    frame = bytes.fromhex(entry["frame"])
    with quiet():
        assert data_of(fields).encode() == frame and fields_of_data(parse(frame)) == fields


@pytest.mark.parametrize("entry", vectors("control"), ids=lambda entry: entry["kind"])
def test_control_frames_are_encoded_and_decoded(entry: dict[str, Any]) -> None:
    """From fields to bytes, and back."""
    frame, message = bytes.fromhex(entry["frame"]), control_of(entry)
    assert encode(message) == frame and alike(decode(frame), message)
    assert fields_of_control(decode(frame)) == {"kind": entry["kind"], "fields": entry["fields"]}


@pytest.mark.parametrize("entry", vectors("messages"), ids=lambda entry: entry["address"][:2])
def test_messages_are_split(entry: dict[str, Any]) -> None:
    """Into their address and frames."""
    message = bytes.fromhex(entry["message"])
    assert message[:ADDRESS_LENGTH].hex() == entry["address"]
    assert [frame.hex() for frame in split(message)] == entry["frames"]


@pytest.mark.parametrize("entry", vectors("malformed"), ids=lambda entry: entry["what"])
def test_malformed_frames_are_refused(entry: dict[str, Any]) -> None:
    """For the reason that is given."""
    read = decode if entry["is"] == "control" else parse
    with pytest.raises(PeerError) as caught, quiet():
        read(bytes.fromhex(entry["frame"]))
    assert caught.value.reason == entry["reason"]


def test_every_kind_has_a_vector() -> None:
    """Of data and of control."""
    assert {entry["kind"] for entry in vectors("data")} == {kind.name for kind in DataKind}
    assert {entry["kind"] for entry in vectors("control")} == {kind.__name__ for kind in KINDS.values()}


def test_our_own_encoder_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """As a command, by the contract in docs/protocol.md."""
    assert main([sys.executable, "-m", "tests.vectors.own"]) == 0
    assert capsys.readouterr().out == f"0 wrong of {len(questions())}\n"


WRONG = {
    "no answers": "pass",
    "an answer too few": "import sys; print('{}\\n' * (len(sys.stdin.readlines()) - 1), end='')",
    "no JSON": "import sys; print('?\\n' * len(sys.stdin.readlines()), end='')",
    "an error": "raise SystemExit('out of order')",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_encoder_is_found(name: str, tmp_path: Path) -> None:
    """However it is wrong; a program that is not there is one line, and exit code 2."""
    assert check([sys.executable, "-c", WRONG[name]])
    assert main([str(tmp_path / "missing")]) == 2 and main([]) == 2
