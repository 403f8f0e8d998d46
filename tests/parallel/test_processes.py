"""Several real processes on this machine: they come together or say why not, and one run comes out of them."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from support.mesh import mesh_of
from support.paths import ROOT

from jaxunlearn import cli
from jaxunlearn.config import Train
from jaxunlearn.models import huggingface, transformer
from jaxunlearn.parallel import processes
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.step import init_state

GIVEN = {"JAXUNLEARN_COORDINATOR": "10.0.0.1:8476", "JAXUNLEARN_PROCESSES": "4", "JAXUNLEARN_PROCESS": "3"}
pytestmark = pytest.mark.xdist_group("distributed")  # one worker: the runs that its tests share are made once


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def environment(devices, **more):
    """Return a clean environment: no proxies (gRPC would use them on loopback), no other run's variables."""
    kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith("JAXUNLEARN_")}
    cache = {"JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    platform = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(ROOT)}
    return kept | cache | platform | {k: str(v) for k, v in more.items()}


def start(count, command, devices=1, missing=(), each=lambda i: {}, inside=lambda i: None):
    """Start `count` processes of one run, all but the missing, each in its folder; returns them in order."""
    address, found = f"127.0.0.1:{free_port()}", []
    for i in range(count):
        named = {"JAXUNLEARN_COORDINATOR": address, "JAXUNLEARN_PROCESSES": count, "JAXUNLEARN_PROCESS": i}
        if i not in missing:
            env = environment(devices, **named, **each(i))
            found.append(
                subprocess.Popen(
                    [sys.executable, *map(str, command)], env=env, cwd=inside(i), text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )
            )  # fmt: skip
    return found


def finish(started, timeout=300):
    """Return (exit code, output, errors) of each."""
    said = [p.communicate(timeout=timeout) for p in started]
    return [(p.returncode, *s) for p, s in zip(started, said, strict=True)]


# ---- messages between processes

TALK = """
import sys
from jaxunlearn.cli.ending import failed
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.parallel import processes

def refuse():
    raise InputError("no such text")

try:
    processes.start()
    me = processes.index()
    assert processes.gather([me]) == [[0], [1]]
    assert processes.first(lambda: [me, processes.first(lambda: me), processes.gather(7)]) == [0, 0, [7]]
    processes.same_everywhere("the text", "same")
    {then}
except InputError as error:
    sys.exit(failed(error, 2))
except RunError as error:
    sys.exit(failed(error, 1))
"""


@pytest.mark.parametrize(
    ("then", "code", "said"),
    [
        ("processes.first(refuse)", 2, ["no such text", "process 0 could not go on: no such text"]),
        ("processes.same_everywhere('the text', str(me))", 2, ["the text is not the same everywhere"] * 2),
        ("processes.PATIENCE = 1; processes.gather(1) if me else __import__('time').sleep(4)", 0, None),
    ],
)
def test_what_one_finds_out_all_hear(tmp_path, then, code, said):
    (tmp_path / "talk.py").write_text(TALK.format(then=then))
    ends = finish(start(2, [tmp_path / "talk.py"]))
    if said is None:  # process 0 says nothing in time: process 1 does not wait for ever
        assert ends[1][0] == 1 and "process 0 has said nothing for 1 s" in ends[1][2]
        return
    for (found, _, err), text in zip(ends, said, strict=True):
        assert found == code and text in err, err


def test_a_missing_and_a_late_process_end_the_others_in_time_and_are_asked_for():
    """Process 2 never comes, process 1 when 0 has given up (on a fast machine): neither waits for ever."""
    began = time.monotonic()
    command = ["-m", "jaxunlearn", "run", "universe"]
    ends = finish(start(3, command, missing=[2], each=lambda i: time.sleep(6 * i) or {"JAXUNLEARN_TIMEOUT": 3}))
    assert time.monotonic() - began < 40
    for code, _, err in ends:
        assert code == 1 and "waited 3 s for 3 processes to come together" in err, err
        assert "JAXUNLEARN_TIMEOUT (seconds) gives them longer" in err and "Traceback" not in err


def test_a_sum_that_a_dead_process_broke_is_put_in_words(capsys):
    lost = jax.errors.JaxRuntimeError("UNKNOWN: Gloo all-reduce failed: Connection reset by peer")
    processes._die(type(lost), lost, None)
    assert "another process of this run is gone" in capsys.readouterr().err
    processes._die(ValueError, ValueError("a bug"), None)
    assert "is gone" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["report", "certify"])
def test_a_command_for_one_process_refuses_several(name):
    env = environment(1, **GIVEN)
    command = [sys.executable, "-m", "jaxunlearn", name, "runs/none"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and f"`{name}` is done by one process" in done.stderr


# ---- a host that sees something else


@pytest.fixture(scope="module")
def host(world, tmp_path_factory):
    """A folder as one host sees it: the small world by relative paths, with a model in it."""
    folder = tmp_path_factory.mktemp("host") / "0"
    shutil.copytree(world, folder, ignore=shutil.ignore_patterns("run"))
    (folder / "world.py").write_text((world / "world.py").read_text().replace(str(world), "."))
    shape = transformer.Shape(V=32, D=32, L=2, N=2, K=2, H=16, F=32, context=64)
    with jax.set_mesh(mesh_of((1, 1, 1))):
        huggingface.save(
            jax.tree.map(lambda w: 5 * w, transformer.init(shape, 0)), folder / "model", source=folder / "tokenizer"
        )
    return folder


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("world.py", lambda b: b.replace(b"label_batch=16", b"label_batch=24"), "the configuration"),
        pytest.param(
            "forget.txt",
            lambda b: b[:-2] + b"!\n",
            "the text, the tokenizer, the dictionary or the prompts",
            marks=pytest.mark.nightly,
        ),
        ("model/model.safetensors", lambda b: b[:5000] + bytes(4) + b[5004:], "the model's files"),
    ],
    ids=("configuration", "text", "model"),
)
def test_a_host_that_sees_another_file_ends_all_of_them_by_name(host, tmp_path, name, change, said):
    other = shutil.copytree(host, tmp_path / "1")
    (other / name).write_bytes(change((other / name).read_bytes()))
    command = ["-m", "jaxunlearn", "run", "world.py", "model=model", "pretrain.steps=0", "tokenizer=tokenizer"]
    for code, _, err in finish(start(2, command, inside=lambda i: (host, other)[i]), timeout=100):
        assert code == 2 and f"{said} is not the same everywhere: process 1 (" in err and "Traceback" not in err, err


# ---- the same work by one, two and four processes


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """What each process of 1, 2 and 4 found, and the folders they wrote."""
    folder = tmp_path_factory.mktemp("work")
    shape = transformer.Shape(V=64, D=32, L=2, N=2, K=2, H=16, F=32, context=64)
    with jax.set_mesh(mesh_of((1, 1, 1))):
        huggingface.save(jax.tree.map(lambda w: 5 * w, transformer.init(shape, 0)), folder / "start")
    found = {}
    for count in (1, 2, 4):
        command = [ROOT / "tests" / "support" / "worker.py", folder / "start", folder / str(count)]
        if count == 1:
            alone = subprocess.run(
                [sys.executable, *map(str, command)], env=environment(4), capture_output=True, text=True
            )
            ends = [(alone.returncode, alone.stdout, alone.stderr)]
        else:
            ends = finish(start(count, command, devices=4 // count))
        assert all(code == 0 for code, _, _ in ends), [e for _, _, e in ends]
        assert not any(out for _, out, _ in ends[1:])
        found[count] = json.loads(ends[0][1])
    return folder, found


def test_losses_labels_and_completions_are_those_of_one_process(work):
    _, found = work
    _, losses, labels, new, sums = found[1][0]
    assert len(losses) == 3 and len(new) == 5 and len(sums[0]) == 9
    for count in (2, 4):
        for told in found[count]:  # every process knows all of it
            np.testing.assert_allclose(told[1][0], losses[0], rtol=1e-6)
            np.testing.assert_allclose(told[1], losses, rtol=1e-5)  # Adam makes much of what rounding left
            assert told[2] == labels and told[3] == new
            np.testing.assert_allclose(told[4], sums, rtol=1e-5)


def test_each_process_reads_its_own_part_of_the_file_and_of_the_batch(work):
    folder, found = work
    size = sum(a.nbytes for a in load_file(folder / "start" / "model.safetensors").values())
    for count, told in found.items():
        assert [row["file"] for row, *_ in told] == [size // count] * count
        assert [row["rows"] for row, *_ in told] == [2 * 3 * 16 // count] * count  # arrays, steps, blocks a step


def test_weights_and_checkpoints_are_those_of_one_process(work):
    folder, _ = work
    one = load_file(folder / "1" / "model" / "model.safetensors")
    for count in (2, 4):
        many = load_file(folder / str(count) / "model" / "model.safetensors")
        for name in one:
            np.testing.assert_allclose(many[name], one[name], atol=1e-5, err_msg=name)
        with jax.set_mesh(mesh_of((2, 2, 2))):  # what several processes saved, restored by one on another mesh
            like = init_state(huggingface.load(folder / "start"), Train(steps=3))
            checkpoints = Checkpoints(folder / str(count) / "state")
            back = checkpoints.restore(like)
            checkpoints.close()
            assert int(back.step) == 3
            for name, array in huggingface.hf_tensors(back.model):
                np.testing.assert_array_equal(array, many[name])


def test_generate_and_score_say_by_two_processes_what_they_say_by_one(host, capsys):
    prompts = ["--prompt", "Zara went to", "--prompt", "Anna", "--max-new-tokens", "7", "--json"]
    generate, score = ["generate", "--model", "model", *prompts], ["score", "--model", "model", "--text", "forget.txt"]
    for command in (generate, [*score, "--json"]):
        (_, out, err), (_, nothing, _) = ends = finish(start(2, ["-m", "jaxunlearn", *command], inside=lambda i: host))
        assert [code for code, *_ in ends] == [0, 0] and nothing == "", err
        with contextlib.chdir(host):
            assert cli.main(command) == 0
        one, two = json.loads(capsys.readouterr().out), json.loads(out)
        if "nll" in one:
            assert one["tokens"] == two["tokens"] > 1000 and two["nll"] == pytest.approx(one["nll"], rel=1e-6)
        else:
            assert one == two and all(c["tokens"] for c in two["completions"]) and len(two["completions"]) == 2


# ---- a whole run by two processes

SMALL = ["pretrain.steps=2", "pretrain.twin=False", "reinforce.steps=2", "unlearn.steps=40", "whp.alphas="]
SMALL += [
    "attack.quantise.schemes=int8",
    "eval.every=40",
    "unlearn.log_every=1",
    "unlearn.checkpoint_every=100",
    "mesh.data=2",
]


def test_a_run_by_two_processes_is_stopped_by_sigterm_resumed_and_finished(world, tmp_path):
    run, said = tmp_path / "run", ""
    command = [ROOT / "launch" / "local.sh", "2", "run", world / "world.py", f"run.dir={run}", *SMALL]
    env = environment(1, PYTHON=sys.executable, LOGS=tmp_path / "logs", PORT=free_port())
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    for line in first.stderr:
        said += line
        if "unlearn 1/40" in line:
            first.send_signal(signal.SIGTERM)
            break
    said += first.communicate(timeout=300)[1]
    assert first.returncode == 75 and "saving after this step" in said, said
    (saved,) = [int(p.name) for p in (run / "checkpoints" / "unlearn").glob("[0-9]*")]
    assert 1 < saved < 40
    env["PORT"] = str(free_port())
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=200)
    assert done.returncode == 0 and f"unlearn goes on after step {saved}" in done.stderr, done.stderr
    report = json.loads((run / "report.json").read_text())
    assert report["device"].endswith("2 processes") and report["manifest"]["processes"] == 2
    assert {"baseline", "unlearned", "reinforced"} <= set(report["models"]) and report["relearn"]["unlearned"]
    assert [p["step"] for p in report["curve"]] == [0, 40] and done.stderr.count("[evaluate] unlearned") == 1
