"""Texts of a configuration or a command line reach the run unchanged, and no shell on the way runs it."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers import programs

from launch import preflight, tpu_vm
from launch.__main__ import main
from t5x_tasks.common.errors import UserError

REPOSITORY = Path(__file__).parent.parent.parent
# Each leaves a file where a shell runs it.
HOSTILE = [
    "$(touch PWNED)", "`touch PWNED`", "'; touch PWNED; '", '"; touch PWNED; "', "x & touch PWNED",
    "$(HOME) $HOME $$ ${HOME} $$(HOME) $$$(HOME)",
    "a b  c", "# x", "back\\slash\\", "%j %% %x", "*", "!!", "$'\\n'touch PWNED", "é🙂",
]  # fmt: skip
LINES = ["gpu\ntouch PWNED", "gpu\r\ntouch PWNED\n#", "gpu\x1b[2J", "gpu\0", "gpu\x85touch", "gpu\u2028touch"]
SLURM = ["slurm", "configs/quickstart.yaml", "--nodes", "1"]
TPU = ["tpu-vm", "configs/quickstart.yaml", "--accelerator", "v5litepod-16", "--zone", "z", "--poll", "0"]
GKE = ["gke", "configs/quickstart.yaml", "--image", "i", "--tpu", "v5e", "--topology", "4x4"]
SKY = ["sky", "configs/quickstart.yaml", "--accelerators", "H100:8", "--bucket", "s3://bucket"]


@pytest.fixture(autouse=True)
def checkout(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(preflight, "_committed", lambda code: lambda file: False)
    monkeypatch.setattr(tpu_vm, "revision", lambda: "0123456789abcdef")
    monkeypatch.setattr(tpu_vm, "archive", lambda revision, path: path.touch())


@pytest.fixture
def python(tmp_path):
    """A machine that the run goes to: its folder, and what `python` was called with there."""
    folder = tmp_path / "machine"
    for place in (folder / ".venv" / "bin", folder / "bin"):
        place.mkdir(parents=True)
        (place / "python").write_text(
            f'#!{sys.executable} -SE\nimport json, sys\njson.dump(sys.argv[1:], open("{folder}/called", "w"))\n'
        )
        (place / "python").chmod(0o755)
    return folder


def project(text: str) -> str:
    return f"logging.project={json.dumps(text, ensure_ascii=False)}"


def bash(command: str, folder: Path, **more: str) -> None:
    environment = os.environ | {"HOME": str(folder), "PATH": f"{folder}/bin:{os.environ['PATH']}"} | more
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def check_called(folder: Path, *overrides: str) -> None:
    called = json.loads((folder / "called").read_text())
    assert called == ["-m", "train", "configs/quickstart.yaml", *overrides]
    assert not list(folder.parent.rglob("PWNED*")) and not (REPOSITORY / "PWNED").exists()


def directives(script: str) -> dict[str, str]:
    """A script's directives as sbatch reads them: a backslash escapes, also within quotation marks; # begins a comment."""
    found = {}
    for line in script.splitlines():
        if not line.startswith("#"):
            break
        value, quote, escaped, words = "", "", False, []
        for character in line.removeprefix("#SBATCH ") + " " if line.startswith("#SBATCH ") else "":
            if escaped:
                value, escaped = value + character, False
            elif character == "\\":
                escaped = True
            elif quote or character in "\"'":
                value, quote = (
                    (value, "" if quote else character) if character in (quote or "\"'") else (value + character, quote)
                )
            elif character == "#":
                break
            elif character.isspace():
                words, value = [*words, value], ""
            else:
                value += character
        assert len(words) <= 1, line
        for word in words:
            name, _, of_name = word.partition("=")
            found[name] = of_name
    return found


def slurm_script(fakes, *arguments: str) -> str:
    fakes.answer(("^squeue --me", 0, "", ""), ("sbatch", 0, "4711\n", ""))
    assert main([*SLURM, *arguments]) == 0
    return fakes.transcript.partition("sbatch --parsable\n")[2]


def test_slurm_gives_the_run_what_was_said(fakes, python, tmp_path):
    script = slurm_script(fakes, f"run_dir={tmp_path}/runs/q", *map(project, HOSTILE)).replace("CODE", str(python))
    script = script.replace("HERE", str(tmp_path)).replace("srun --kill-on-bad-exit=0 --wait=120 ", "env ")
    bash(script, python, SLURM_JOB_ID="1")
    check_called(python, f"run_dir={tmp_path}/runs/q", *map(project, HOSTILE))


@pytest.mark.parametrize("text", HOSTILE)
def test_sbatch_reads_directives_as_they_were_said(fakes, python, tmp_path, text):
    run_dir = tmp_path / "runs" / text
    script = slurm_script(
        fakes, f"run_dir={json.dumps(str(run_dir), ensure_ascii=False)}", "--name=q",
        "--partition", text, "--account", text, "--time", text,
    )  # fmt: skip
    found = directives(script.replace("HERE", str(tmp_path)))
    assert found["--output"] == str(run_dir).replace("%", "%%") + "/logs/slurm-%j.log"
    assert [found[name] for name in ("--partition", "--account", "--time")] == [text] * 3 and "--requeue" in found
    bash(
        script.replace("CODE", str(python)).replace("srun --kill-on-bad-exit=0 --wait=120 ", "env "),
        python,
        SLURM_JOB_ID="1",
    )
    assert not list(tmp_path.rglob("PWNED*"))


@pytest.mark.needs_shellcheck
def test_the_quoted_script_passes_shellcheck(fakes, tmp_path):
    script = slurm_script(fakes, f"run_dir={tmp_path}/runs/q", *map(project, HOSTILE), "--partition", "a b'")
    done = subprocess.run([programs.find("shellcheck") or "", "-"], input=script, capture_output=True, text=True)
    assert not re.findall(r"SC\d+ \(error\)", done.stdout), done.stdout


def test_tpu_workers_give_the_run_what_was_said(fakes, python):
    fakes.answer(("describe", 0, "ACTIVE\n", ""), (r"quickstart\.exit", 0, "0\n", ""))
    assert main([*TPU, "run_dir=runs/quickstart", *map(project, HOSTILE)]) == 0
    told = [shlex.split(line)[-1] for line in fakes.transcript.splitlines() if " ssh " in line]
    start = next(command for command in told if "nohup" in command).removeprefix("--command=")
    home = python / "flan-t5x" / "0123456789ab"
    home.parent.mkdir()
    home.symlink_to(python)
    bash(f"{start}; wait", python)
    check_called(python, "run_dir=runs/quickstart", *map(project, HOSTILE))


@pytest.mark.parametrize("name", ["runs/$(touch PWNED)", "runs/a b", "-x/q", "runs/`x`", "a:b/q", "runs/*"])
def test_what_scp_would_hand_to_a_shell_is_no_folder_to_be_fetched(fakes, name):
    with pytest.raises(UserError, match=r"^run_dir: .* is fetched by scp, which hands names to a shell on the slice; "):
        main([*TPU, f"run_dir={json.dumps(name)}", "--name=q"])
    assert fakes.transcript == ""


def kubernetes(text: str) -> str:
    """A word of `command` as Kubernetes expands it: $$ is $, $(NAME) the variable's value."""
    return re.sub(r"\$(\$|\((HOME|PATH)\))", lambda match: "$" if match[1] == "$" else "EXPANDED", text)


def test_kubernetes_gives_the_run_what_was_said(fakes):
    assert main([*GKE, "run_dir=/data/q", "--claim", "runs", *map(project, HOSTILE)]) == 0
    manifest = yaml.safe_load(fakes.transcript.partition("apply --filename=-\n")[2])
    pod = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    command = [kubernetes(word) for word in pod["containers"][0]["command"]]
    assert command == ["python", "-m", "train", "configs/quickstart.yaml", "run_dir=/data/q", *map(project, HOSTILE)]


def test_xpk_gives_the_run_what_was_said(fakes, python):
    """It puts the command into a script for bash, in a manifest for Kubernetes."""
    assert main([*GKE, "run_dir=/data/q", "--xpk", "cluster", *map(project, HOSTILE)]) == 0
    create = next(line for line in fakes.transcript.splitlines() if "workload create" in line)
    command = next(w for w in shlex.split(create) if w.startswith("--command=")).removeprefix("--command=")
    bash(kubernetes(f"({command}) & wait $!"), python)
    check_called(python, "run_dir=/data/q", *map(project, HOSTILE))


def test_skypilot_gives_the_run_what_was_said(fakes, python):
    fakes.answer(("jobs queue", 0, "[]", ""))
    assert main([*SKY, "run_dir=/data/q", *map(project, HOSTILE)]) == 0
    task = yaml.safe_load(fakes.transcript.partition("TASK.yaml\n")[2])
    bash(task["run"], python)
    check_called(python, "run_dir=/data/q", *map(project, HOSTILE))


@pytest.mark.parametrize(
    ("arguments", "option"),
    [(SLURM, "--partition"), (SLURM, "--account"), (SLURM, "--time"), (SLURM, "--apptainer"), (SLURM, "--bind"),
     (SLURM, "--name"), (TPU, "--zone"), (TPU, "--project"), (TPU, "--mounted"), (TPU, "--bucket"), (TPU, "--runtime-version"),
     (GKE, "--image"), (GKE, "--namespace"), (GKE, "--secret"), (GKE, "--service-account"), (GKE, "--xpk"), (GKE, "--claim"),
     (SKY, "--infra"), (SKY, "--bucket"), (SKY, "--accelerators")],
)  # fmt: skip
def test_an_option_of_several_lines_is_refused_before_anything_is_started(fakes, arguments, option):
    for text in LINES:
        with pytest.raises(UserError, match=rf"^{option}: 'gpu.* holds a line break or another control character"):
            main([*arguments, "run_dir=/data/q", f"{option}={text}"])
    assert fakes.transcript == ""


@pytest.mark.parametrize("arguments", [SLURM, TPU, GKE, SKY, ["local", "configs/quickstart.yaml", "--dry-run"]])
@pytest.mark.parametrize(
    "key",
    [
        "run_dir",
        "data.root",
        "data.cache",
        "eval.output",
        "model.weights",
        "model.vocabulary",
        "data.cards",
        "data.modules",
    ],
)
def test_a_path_of_several_lines_is_refused_in_a_configuration(fakes, tmp_path, arguments, key):
    path, several = tmp_path / "run.yaml", key in ("data.cards", "data.modules")
    for text in LINES:
        tree: dict = {"base": str(REPOSITORY / "configs" / "quickstart.yaml")}
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = [f"/x/{text}"] if several else f"/x/{text}"
        path.write_text(yaml.safe_dump(tree))
        with pytest.raises(UserError, match=rf"run\.yaml: {key}.* holds a line break or another control character"):
            main([arguments[0], str(path), *arguments[2:], "--name=q"])
        with pytest.raises(UserError, match=r"command line: .* holds a line break or another control character"):
            main([*arguments, f"{key}={json.dumps([f'/x/{text}'] if several else f'/x/{text}')}", "--name=q"])
        with pytest.raises(UserError, match=r"command line: .* holds a line break or another control character"):
            main([*arguments, f"{key}=/x/{text}", "--name=q"])
    assert fakes.transcript == "" and sorted(p.name for p in tmp_path.iterdir()) == ["bin", "run.yaml"]


def test_a_working_folder_of_several_lines_is_refused(fakes, tmp_path, monkeypatch):
    folder = tmp_path / "a\ntouch PWNED"
    folder.mkdir()
    monkeypatch.chdir(folder)
    fakes.answer(("^squeue --me", 0, "", ""))
    with pytest.raises(UserError, match="holds a line break or another control character"):
        main(["slurm", str(REPOSITORY / "configs" / "quickstart.yaml"), "run_dir=runs/q"])
    assert "sbatch" not in fakes.transcript and not list(folder.iterdir())
