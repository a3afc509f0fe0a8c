"""`python -m launch gke CONFIG --image I --tpu v5e --topology 4x4` (or `--gpu h100`): a JobSet on Kubernetes.

The manifest goes to `kubectl apply`, which leaves an unchanged job as it is: started twice it is one job. With
`--xpk CLUSTER` xpk creates the workload instead. Failed pods are started again by the JobSet up to a limit, except after what
starting again would not put right. Tokens come from a Kubernetes secret that you name; none is in the manifest.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from launch import bucket
from launch import job as jobs
from launch.job import MISTAKE, Job
from launch.plan.accelerators import CORES_A_CHIP, topology_chips
from launch.tools import Tools
from t5x_tasks.common.errors import UserError

# cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus: the node selector's value, and the chips of a host in a slice.
_TPUS = {
    "v4": ("tpu-v4-podslice", 4),
    "v5e": ("tpu-v5-lite-podslice", 4),
    "v5p": ("tpu-v5p-slice", 4),
    "v6e": ("tpu-v6e-slice", 4),
}
_GPUS = {"a100": "nvidia-a100-80gb", "h100": "nvidia-h100-80gb", "h200": "nvidia-h200-141gb"}
_PORT = 8476
_GRACE_S = 300  # to save in, once Kubernetes asks a pod to end


def add_arguments(parser: argparse.ArgumentParser) -> None:
    jobs.add_arguments(parser)
    parser.add_argument("--image", required=True, help="built from the Dockerfile and pushed")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--tpu", choices=sorted(_TPUS))
    kind.add_argument("--gpu", choices=sorted(_GPUS))
    parser.add_argument("--topology", metavar="AxB[xC]", help="of a TPU slice: 4x4, 2x2x2")
    parser.add_argument("--slices", type=int, default=1, metavar="N", help="TPU slices (default: %(default)s)")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="GPU nodes (default: %(default)s)")
    parser.add_argument("--gpus", type=int, default=8, metavar="G", help="of each node (default: %(default)s)")
    parser.add_argument("--spot", action="store_true")
    storage = parser.add_mutually_exclusive_group()
    storage.add_argument(
        "--claim", metavar="PVC", help=f"a persistent volume claim that all pods share, mounted at {bucket.FOLDER}"
    )
    storage.add_argument(
        "--bucket", metavar="URL", help=f"gs://..., mounted at {bucket.FOLDER} by the Cloud Storage FUSE CSI driver"
    )
    parser.add_argument(
        "--service-account",
        metavar="NAME",
        help="the pods' Kubernetes service account, which may use the bucket (default: the namespace's)",
    )
    parser.add_argument("--secret", metavar="NAME", help="a Kubernetes secret; its entries become variables (HF_TOKEN)")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--max-restarts", type=int, default=10, metavar="N", help="default: %(default)s")
    parser.add_argument("--xpk", metavar="CLUSTER", help="create the workload with xpk in this cluster")


def run(options: argparse.Namespace) -> int:
    mounted = ["/"] if options.xpk else [bucket.FOLDER] if options.claim or options.bucket else []
    job, tools = jobs.relative_to_code(jobs.load(options), mounted=mounted), Tools(options.dry_run)
    if options.tpu and not options.topology:
        raise UserError("--topology: is needed for a TPU slice, as in --tpu v5e --topology 4x4")
    if options.tpu:
        topology_chips(options.tpu, options.topology)  # says now if there is no such slice
    if options.xpk:
        return _with_xpk(job, options, tools, mounted)
    jobs.check_kept(
        job,
        mounted,
        todo=f"use --bucket gs://NAME, or --claim PVC, with run_dir={bucket.FOLDER}/{Path(job.run_dir).name}",
    )
    kubectl = ["kubectl", f"--namespace={options.namespace}"]
    tools.run([*kubectl, "apply", "--filename=-"], given=yaml.safe_dump(manifest(job, options), sort_keys=False))
    tools.say(
        f"{job.name}: applied; its log: {' '.join(kubectl)} logs --follow --selector=jobset.sigs.k8s.io/jobset-name={job.name}"
    )
    return 0


def manifest(job: Job, options: argparse.Namespace) -> dict[str, Any]:
    """The JobSet: one replicated job with a pod for each host; of TPUs, one such job for each slice.

    Raises:
      UserError: the TPU has no such topology, or the bucket is none.
    """
    if options.tpu:
        accelerator, a_host = _TPUS[options.tpu]
        chips = topology_chips(options.tpu, options.topology)
        hosts, replicas = max(1, chips // a_host), options.slices
        resource = {"google.com/tpu": str(min(chips, a_host))}
        selector = {
            "cloud.google.com/gke-tpu-accelerator": accelerator,
            "cloud.google.com/gke-tpu-topology": options.topology,
        }
        variables: dict[str, str] = {}  # GKE tells TPU pods about each other
    else:
        hosts, replicas = options.nodes, 1
        resource = {"nvidia.com/gpu": str(options.gpus)}
        selector = {"cloud.google.com/gke-accelerator": _GPUS[options.gpu]}
        variables = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9"}
        if hosts > 1:
            first = f"{job.name}-run-0-0.{job.name}"  # JobSet's name of the first pod in the network
            variables |= {"JAX_COORDINATOR_ADDRESS": f"{first}:{_PORT}", "JAX_NUM_PROCESSES": str(hosts)}
    if options.spot:
        selector |= {"cloud.google.com/gke-spot": "true"}
    environment: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in variables.items()]
    if "JAX_NUM_PROCESSES" in variables:
        index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
        environment.append({"name": "JAX_PROCESS_ID", "valueFrom": {"fieldRef": {"fieldPath": index}}})
    container: dict[str, Any] = {
        "name": "train",
        "image": options.image,
        "command": [_literal(word) for word in job.command()],
        "env": environment,
        "resources": {"limits": resource, "requests": dict(resource)},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_S,
        "automountServiceAccountToken": False,
        "nodeSelector": selector,
        "containers": [container],
    }
    if options.gpu:
        pod["securityContext"] = {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000}
    else:  # a TPU's device files are root's; the image's user is not
        pod["securityContext"] = {"runAsUser": 0}
    if options.secret:
        container["envFrom"] = [{"secretRef": {"name": options.secret}}]
    if options.service_account:
        pod["serviceAccountName"] = options.service_account
    if options.claim or options.bucket:
        container["volumeMounts"] = [{"name": "data", "mountPath": bucket.FOLDER}]
    if options.claim:
        pod["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": options.claim}}]
    annotated: dict[str, Any] = {}
    if options.bucket:
        pod["volumes"] = [{"name": "data", "csi": bucket.csi_volume(bucket.parse(options.bucket))}]
        annotated["metadata"] = {"annotations": dict(bucket.CSI_ANNOTATIONS)}
    if options.spot:
        pod["tolerations"] = [
            {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
        ]
    template = {
        "spec": {
            "parallelism": hosts,
            "completions": hosts,
            "completionMode": "Indexed",
            "backoffLimit": 0,
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {"containerName": "train", "operator": "In", "values": [MISTAKE]},
                    }
                ]
            },
            "template": {**annotated, "spec": pod},
        }
    }
    # A slice is a node pool of its own.
    alone = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": job.name} | ({"annotations": alone} if options.tpu else {}),
        "spec": {
            "failurePolicy": {
                "maxRestarts": options.max_restarts,
                "rules": [{"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
            },
            "replicatedJobs": [{"name": "run", "replicas": replicas, "template": template}],
        },
    }


def _literal(text: str) -> str:
    """Keeps Kubernetes from filling in `$(NAME)` in a container's command, where `$$` is a `$`."""
    return text.replace("$", "$$")


def _with_xpk(job: Job, options: argparse.Namespace, tools: Tools, mounted: Sequence[str]) -> int:
    if not options.tpu:
        raise UserError("--xpk: is for TPU slices here; leave it out for GPUs")
    if options.bucket or options.claim or options.service_account:
        raise UserError(
            "--xpk: takes no --bucket, --claim or --service-account; attach storage to the cluster with `xpk storage attach`"
        )
    jobs.check_kept(
        job, mounted, todo="use an absolute run_dir where the cluster mounts storage (`xpk storage attach`)"
    )
    listed = tools.ask(["xpk", "workload", "list", f"--cluster={options.xpk}"], assumed="")
    if any(job.name in line.split() for line in (listed or "").splitlines()):
        tools.say(f"{job.name}: is there already; `xpk workload delete` ends it")
        return 0
    size = topology_chips(options.tpu, options.topology) * CORES_A_CHIP.get(options.tpu, 1)
    create = ["xpk", "workload", "create", f"--cluster={options.xpk}", f"--workload={job.name}"]
    create += [f"--tpu-type={options.tpu}-{size}", f"--num-slices={options.slices}"]
    create += [
        f"--docker-image={options.image}",
        f"--max-restarts={options.max_restarts}",
        f"--command={_literal(job.shell())}",
    ]
    tools.run(create)
    return 0
