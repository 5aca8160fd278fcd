"""Open a file by its content: unpack it, tell its format, and find the encoding of its text.

No function here looks at a file's name. The size of every input is bounded by `FILE_BYTES`, packed and unpacked.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import json
import lzma
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, Literal, TextIO, cast

from coordinator.data.limits import FILE_BYTES, LINE_CHARACTERS, check_bytes, shown, shown_path
from coordinator.errors import UserError

Format = Literal["text", "npz", "npy", "parquet", "jsonl", "json", "arff", "svmlight"]

SAMPLE_BYTES = 1 << 20
SPOOL_BYTES = 1 << 24
BLOCK_BYTES = 1 << 20
LINE_BYTES = 4 * LINE_CHARACTERS
"""More than a line of the most characters takes in any encoding."""

BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FOREIGN = (
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save it as CSV (in Excel: File, Save As, CSV UTF-8)"),
    (b"\x80\x02", "a Python pickle, which is never loaded; save the table as CSV or NPZ"),
    (b"\x80\x03", "a Python pickle, which is never loaded; save the table as CSV or NPZ"),
    (b"\x80\x04", "a Python pickle, which is never loaded; save the table as CSV or NPZ"),
    (b"\x80\x05", "a Python pickle, which is never loaded; save the table as CSV or NPZ"),
    (b"\x89HDF", "an HDF5 file; save the table as CSV, or its arrays as NPZ"),
    (b"%PDF", "a PDF document, not a table"),
    (b"\x89PNG", "a picture, not a table; save pictures as arrays in an NPZ file"),
    (b"\xff\xd8\xff", "a picture, not a table; save pictures as arrays in an NPZ file"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
    (b"ARROW1", "a Feather file; save the table as Parquet or CSV"),
    (b"FEA1", "a Feather file; save the table as Parquet or CSV"),
    (b"ORC", "an ORC file; save the table as Parquet or CSV"),
    (b"Obj\x01", "an Avro file; save the table as Parquet or CSV"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x1f\x9d", "packed with compress; unpack it first"),
    (b"\x5d\x00\x00", "packed with lzma; unpack it first"),
    (b"PK\x05\x06", "an empty zip file"),
    (b"GIF8", "a picture, not a table; save pictures as arrays in an NPZ file"),
    (b"MATLAB", "a MATLAB file; save the table as CSV, or its arrays as NPZ"),
    (b"<stata_dta>", "a Stata file; export the table as CSV"),
    (b"$FL", "an SPSS file; export the table as CSV"),
    (bytes(12) + b"\xc2\xea\x81\x60", "a SAS file; export the table as CSV"),
    (b"\x00\x00\x08", "an IDX file, as of MNIST; save its arrays as NPZ"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the data; fetch the file with: git lfs pull"),
)
_OFFICE = (
    ("xl/", "an Excel workbook; save the sheet as CSV "
     "(in Excel: File, Save As, CSV UTF-8; in LibreOffice: File, Save As, Text CSV)"),
    ("word/", "a Word document, not a table"),
    ("content.xml", "a LibreOffice document; save the sheet as CSV (File, Save As, Text CSV)"),
    ("Index/Document.iwa", "a Numbers document; export the sheet as CSV"),
    ("data.pkl", "a PyTorch file; save its arrays as NPZ"),
)  # fmt: skip
_LEAST_PAIRS = 0.8
"""The share of lines with pairs of index and value in a file of svmlight."""
_SVMLIGHT = re.compile(r"[^\s:]+(?:\s+qid:\d+)?(?P<pairs>(?:\s+\d+:[^\s:]+)*)\s*(?:#.*)?")
_ARFF = re.compile(r"(?:\s*(?:%[^\n]*)?\n)*\s*@relation\b", re.IGNORECASE)


@contextlib.contextmanager
def opened(source: Path | TextIO, place: str) -> Iterator[BinaryIO]:
    """Open a file or a stream such as standard input as bytes that can be read more than once.

    Raises:
        UserError: no such file, a folder, not readable, empty, too large.
    """
    if not isinstance(source, Path):
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
            _spool(source, cast("BinaryIO", spool), place)
            yield cast("BinaryIO", spool)
        return
    try:
        file = source.open("rb")
    except FileNotFoundError:
        raise UserError(f"{place}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{place}: is a folder, a file is needed") from None
    except PermissionError:
        raise UserError(f"{place}: may not be read by this user (permission denied)") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{place}: cannot be read ({reason})") from None
    with file:
        if not file.seekable():
            with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
                _copy(file, cast("BinaryIO", spool), place)
                yield cast("BinaryIO", spool)
            return
        size = file.seek(0, io.SEEK_END)
        _check_bytes(size, place)
        file.seek(0)
        yield file


def _spool(stream: TextIO, target: BinaryIO, place: str) -> None:
    buffer = getattr(stream, "buffer", None)
    try:
        if buffer is not None:
            _copy(buffer, target, place)
        else:
            _copy(io.BytesIO(stream.read().encode("utf-8", "surrogatepass")), target, place)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{place}: cannot be read ({reason})") from None


def _copy(source: IO[bytes], target: BinaryIO, place: str) -> None:
    size = 0
    while block := source.read(BLOCK_BYTES):
        size += len(block)
        if size > FILE_BYTES:
            break
        target.write(block)
    _check_bytes(size, place)
    target.seek(0)


def _check_bytes(size: int, place: str) -> None:
    if size == 0:
        raise UserError(f"{place}: is empty, rows of data are needed")
    check_bytes(size, place)


def unpacked(file: BinaryIO, place: str) -> tuple[BinaryIO, str | None]:
    """Return the file inside a gzip, xz, bzip2 or zip file and the packing's name, or the file itself and None.

    An NPZ file, which is a zip file of arrays, is not unpacked.

    Raises:
        UserError: an Excel workbook, a zip of several files, or a broken one.
    """
    inner, packing = _once_unpacked(file, place)
    if packing is None:
        return file, None
    try:
        start = inner.read(6)
        inner.seek(0)
    except BROKEN as error:
        raise UserError(f"{place}: cannot be unpacked ({error or type(error).__name__})") from None
    if not start.startswith(_PACKED):
        return inner, packing
    # A .csv.gz in a zip file.
    innermost, second = _once_unpacked(inner, place)
    return innermost, packing if second is None else f"{packing} and {second}"


_PACKED = (b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh", b"PK\x03\x04")


def _once_unpacked(file: BinaryIO, place: str) -> tuple[BinaryIO, str | None]:
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb")), "gzip"
    if start.startswith(b"\xfd7zXZ\x00"):
        return cast("BinaryIO", lzma.LZMAFile(file)), "xz"
    if start.startswith(b"BZh"):
        return cast("BinaryIO", bz2.BZ2File(file)), "bzip2"
    if not start.startswith(b"PK\x03\x04"):
        return file, None
    try:
        archive = zipfile.ZipFile(file)
        names = archive.namelist()
    except BROKEN:
        if start.startswith(b"PK"):
            raise UserError(
                f"{place}: is a zip file that is broken or cut off; if it is an Excel workbook, save the sheet as CSV"
            ) from None
        raise
    if any(name.endswith(".npy") for name in names):
        file.seek(0)
        return file, None
    for mark, what in _OFFICE:
        if any(name.startswith(mark) or name.endswith("/" + mark) for name in names):
            raise UserError(f"{place}: is {what}")
    if "[Content_Types].xml" in names:
        raise UserError(f"{place}: is {_OFFICE[0][1]}")
    members = [
        name
        for name in names
        if not name.endswith("/") and not name.startswith("__MACOSX/") and not name.rpartition("/")[2].startswith(".")
    ]
    if len(members) != 1:
        few = ", ".join(shown(name) for name in members[:5])
        raise UserError(f"{place}: is a zip file of {len(members)} files ({few}); unpack it and name one file")
    try:
        return cast("BinaryIO", archive.open(members[0])), "zip"
    except BROKEN as error:
        raise UserError(f"{place}: cannot be unpacked ({error})") from None


def read_sample(file: BinaryIO, place: str) -> bytes:
    """Return the first bytes of a file and go back to its start."""
    try:
        sample = file.read(SAMPLE_BYTES)
        file.seek(0)
    except BROKEN as error:
        raise UserError(f"{place}: cannot be unpacked ({error or type(error).__name__})") from None
    if not sample:
        raise UserError(f"{place}: is empty, rows of data are needed")
    return sample


def format_of(sample: bytes, place: str) -> Format:
    """Tell the format of a file from its first bytes.

    Raises:
        UserError: a format without a table, or an unknown one, with advice.
    """
    if sample.startswith(b"PK\x03\x04"):
        return "npz"
    if sample.startswith(b"\x93NUMPY"):
        return "npy"
    if sample.startswith(b"PAR1"):
        return "parquet"
    for mark, what in _FOREIGN:
        if sample.startswith(mark):
            raise UserError(f"{place}: is {what}")
    if sample[257:262] == b"ustar":
        raise UserError(f"{place}: is a tar archive; unpack it and name one file")
    text = sample[:65_536].decode(_marked(sample) or "utf-8", errors="replace").lstrip("\ufeff")
    start = text.lstrip()[:200].lower()
    if start.startswith(("<!doctype", "<html", "<?xml", "<head", "<body", "<!--", "<table")):
        raise UserError(f"{place}: is a web page or XML, not a table; download the file itself")
    if start.startswith("{"):
        return "jsonl"
    if re.match(r"\[\s*[\[{]", start) or (start.startswith("[") and _is_json(text.lstrip().partition("\n")[0])):
        return "json"
    if _ARFF.match(text):
        return "arff"
    lines = [line for line in text.split("\n")[:20] if line.strip() and not line.lstrip().startswith("#")]
    whole = lines[:-1] if len(lines) > 1 and len(text) == 65_536 else lines
    found = [_SVMLIGHT.fullmatch(line.strip()) for line in whole]
    with_pairs = sum(match is not None and bool(match["pairs"]) for match in found)
    if whole and all(found) and with_pairs >= _LEAST_PAIRS * len(whole):
        return "svmlight"
    return "text"


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def read_whole(file: BinaryIO, place: str) -> bytes:
    """Return all that is left of an unpacked file.

    Raises:
        UserError: broken, or too long when unpacked.
    """
    try:
        content = file.read(FILE_BYTES + 1)
    except BROKEN as error:
        raise UserError(f"{place}: cannot be unpacked ({error or type(error).__name__})") from None
    check_bytes(len(content), place, unpacked=True)
    return content


def read_unpacked(path: Path) -> bytes:
    """Return the contents of a file of arrays, unpacked where it is packed. Raises `UserError`."""
    place = shown_path(path)
    with opened(path, place) as packed:
        file, _ = unpacked(packed, place)
        return read_whole(file, place)


def find_encoding(file: BinaryIO, place: str, asked: str | None = None) -> str:
    """Find the encoding of a text file by reading all of it, and go back to its start.

    A byte order mark decides; without one, text that is UTF-8 is UTF-8; other bytes are Windows' cp1252 where they
    use its own range, and latin-1 otherwise.

    Raises:
        UserError: not text, too long when unpacked, or not in the encoding that was `asked` for.
    """
    try:
        return _find_encoding(file, place, asked)
    except BROKEN as error:
        raise UserError(f"{place}: cannot be unpacked ({error or type(error).__name__})") from None
    finally:
        with contextlib.suppress(*BROKEN, ValueError):
            file.seek(0)


def _find_encoding(file: BinaryIO, place: str, asked: str | None) -> str:
    if asked is not None:
        try:
            name = codecs.lookup(asked).name
            codecs.getincrementaldecoder(name)()
            "".encode(name)
        except (LookupError, ValueError, TypeError):
            raise UserError(
                f"--encoding: no text encoding {shown(asked)}; known are utf-8, cp1252, latin-1, utf-16, ..."
            ) from None
    first = file.read(BLOCK_BYTES)
    encoding = asked or _marked(first) or "utf-8"
    decoder = codecs.getincrementaldecoder(encoding)()
    size, line, block, since_end = 0, 1, first, 0
    text_is_bytes = not encoding.startswith(("utf-16", "utf-32"))
    while True:
        size += len(block)
        check_bytes(size, place, unpacked=True)
        if text_is_bytes and (at := block.find(b"\0")) >= 0:
            line += block.count(b"\n", 0, at)
            raise UserError(f"{place}, line {line}: holds NUL bytes, so it is not text")
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            if asked is not None or not text_is_bytes:
                at_line = line + bytes(error.object[: error.start]).count(b"\n")
                what = f"is not {encoding.upper()} text"
                raise UserError(f"{place}, line {at_line}: {what}; name the right --encoding") from None
            return _byte_encoding(file, place)
        if not block:
            return encoding
        line += block.count(b"\n")
        end = max(block.rfind(b"\n"), block.rfind(b"\r"))
        since_end = len(block) - end if end >= 0 else since_end + len(block)
        if since_end > LINE_BYTES:
            raise UserError(f"{place}, line {line}: is longer than {LINE_CHARACTERS:,} characters")
        block = file.read(BLOCK_BYTES)


def _marked(sample: bytes) -> str | None:
    """Return the encoding that a byte order mark, or the zeros of UTF-16 without one, tells."""
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    head = sample[:4096]
    even, odd = head[0::2], head[1::2]
    if len(head) >= 8 and odd.count(0) > 0.6 * len(odd) and not even.count(0):
        return "utf-16-le"
    if len(head) >= 8 and even.count(0) > 0.6 * len(even) and not odd.count(0):
        return "utf-16-be"
    return None


def _byte_encoding(file: BinaryIO, place: str) -> str:
    """Choose between cp1252 and latin-1 for bytes that are not UTF-8."""
    file.seek(0)
    size, high, undefined = 0, False, False
    while block := file.read(BLOCK_BYTES):
        size += len(block)
        check_bytes(size, place, unpacked=True)
        if b"\0" in block:
            raise UserError(f"{place}: holds NUL bytes, so it is not text")
        high = high or re.search(rb"[\x80-\x9f]", block) is not None
        undefined = undefined or re.search(rb"[\x81\x8d\x8f\x90\x9d]", block) is not None
    return "cp1252" if high and not undefined else "latin-1"


def copied(file: BinaryIO, suffix: str) -> IO[bytes]:
    """Return a named temporary copy of a file, for a library that opens files by name."""
    target = tempfile.NamedTemporaryFile(suffix=suffix)  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(file, target)
    target.flush()
    return target


def place_of(source: Path | TextIO) -> str:
    """Name a file or standard input in a message."""
    return shown_path(source) if isinstance(source, Path) else "standard input"
