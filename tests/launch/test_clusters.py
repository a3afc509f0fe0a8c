"""Kubernetes (JobSet, xpk) and SkyPilot."""

import pytest
import yaml

from launch.__main__ import main
from t5x_tasks.common.errors import UserError

TPU = [
    "gke",
    "configs/quickstart.yaml",
    "run_dir=/data/quickstart",
    "--claim",
    "runs",
    "--image",
    "registry/flan-t5x:tpu",
]
GPU = [*TPU, "--gpu", "h100", "--nodes", "2", "--secret", "tokens", "--spot"]
BUCKET = [*(word for word in TPU if word not in ("--claim", "runs")), "--bucket", "gs://my-bucket"]
BUCKET += ["--service-account", "trainer", "--gpu", "h100"]
XPK = [*(word for word in TPU if word not in ("--claim", "runs")), "--tpu", "v5e", "--topology", "4x4", "--slices", "2"]
XPK += ["--xpk", "cluster"]
TPU = [*TPU, "--tpu", "v5e", "--topology", "4x4", "--slices", "2"]
SKY = ["sky", "configs/quickstart.yaml", "run_dir=/data/quickstart", "--accelerators", "H100:8", "--nodes", "2"]
SKY += ["--bucket", "s3://bucket", "--spot"]


def applied(fakes):
    return yaml.safe_load(fakes.transcript.partition("apply --filename=-\n")[2])


def test_gke_tpu_slices_are_one_jobset(fakes, golden):
    assert main(TPU) == 0
    golden(fakes.transcript)


def test_gke_gpu_nodes_know_each_other(fakes, golden):
    assert main(GPU) == 0
    golden(fakes.transcript)


def test_gke_mounts_a_bucket_by_the_csi_driver(fakes, golden):
    assert main(BUCKET) == 0
    golden(fakes.transcript)


def test_gke_takes_a_bucket_or_a_claim(fakes, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*BUCKET, "--claim", "runs"])
    assert ended.value.code == 2 and "--claim: not allowed with argument --bucket" in capsys.readouterr().err
    assert fakes.transcript == ""


@pytest.mark.parametrize("arguments", [TPU, GPU, BUCKET])
def test_the_job_in_the_jobset_is_valid_kubernetes(fakes, arguments):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    assert main(arguments) == 0
    (replicated,) = applied(fakes)["spec"]["replicatedJobs"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "run"}, **replicated["template"]}
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)


def test_gke_refusals_are_one_line(fakes):
    fakes.answer(("apply", 1, "", 'Error from server (Forbidden): jobsets.jobset.x-k8s.io is forbidden: User "a"\n'))
    with pytest.raises(UserError, match=r"kubectl: no permission: Error from server \(Forbidden\)"):
        main(TPU)
    fakes.answer(("apply", 1, "", 'Error from server: pods "run" is invalid: exceeded quota: gpus\n'))
    with pytest.raises(UserError, match="kubectl: over the quota"):
        main(GPU)


def test_xpk_creates_the_workload_once(fakes, golden):
    fakes.answer(
        ("workload list", 0, "Jobset Name\nother\n", ""), ("workload list", 0, "Jobset Name\nquickstart 1\n", "")
    )
    assert main(XPK) == main(XPK) == 0
    golden(fakes.transcript)


def test_sky_launches_once_and_gives_tokens_by_name(fakes, golden, monkeypatch, capfd):
    monkeypatch.setenv("HF_TOKEN", "hf_never_shown")
    running = ("jobs queue", 0, '[{"job_id": 3, "job_name": "quickstart", "status": "RUNNING"}]', "")
    fakes.answer(("jobs queue", 0, "[]", ""), running)
    assert main(SKY) == main(SKY) == 0
    golden(fakes.transcript)
    shown = capfd.readouterr()
    assert "hf_never_shown" not in fakes.transcript + shown.out + shown.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*TPU, "--topology", "4by4"], "--topology: 4by4: v5e has no such slice; its topologies are 1x1, 2x2"),
        ([*XPK, "--topology", "5x5"], "--topology: 5x5: v5e has no such slice"),
        ([*GPU, "--xpk", "cluster"], "--xpk: is for TPU slices"),
        ([*SKY, "--accelerators", "8 of them"], "--accelerators: .*H100:8"),
        ([*BUCKET, "--bucket", "s3://my-bucket"], "--bucket: s3://my-bucket: write gs://NAME"),
        ([*BUCKET, "--bucket", "gs://b/x"], "--bucket: gs://b/x: .* goes into run_dir=/data/"),
        ([*XPK, "--service-account", "trainer"], "--xpk: takes no --bucket"),
        ([*XPK, "--claim", "runs"], "--xpk: takes no --bucket, --claim"),
        ([*XPK, "run_dir=runs/q"], "run_dir: runs/q is on the machines' own disks.*xpk storage attach"),
        ([*TPU, "run_dir=runs/q"], "run_dir: runs/q is on the machines' own disks.*--claim PVC, with run_dir=/data/q"),
        ([*XPK[:-2]], "run_dir: /data/quickstart is on the machines' own disks.*--bucket gs://NAME"),
        ([*SKY, "run_dir=/mnt/q"], "run_dir: /mnt/q is on the machines' own disks.*--bucket URL with run_dir=/data/q"),
        ([*SKY[:-3]], "run_dir: /data/quickstart is on the machines' own disks.*--bucket URL"),
        ([*TPU, "run_dir=gs://bucket/x"], "command line: run_dir: gs://bucket/x is a URL"),
        ([*SKY, "run_dir=s3://bucket/x"], "launch sky with --bucket s3://bucket.* write /data/x"),
        ([*SKY, "--name", "Q_1"], "--name: 'Q_1': a letter"),
        ([*SKY, "train.stpes=3"], "train.stpes: unknown key, did you mean train.steps"),
    ],
)
def test_mistakes_are_said_before_anything_is_started(fakes, arguments, message):
    with pytest.raises(UserError, match=message):
        main(arguments)
    assert fakes.transcript == ""
