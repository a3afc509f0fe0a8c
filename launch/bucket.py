"""A Cloud Storage bucket as a folder on every host: gcsfuse, by hand on TPU VMs and by Google's CSI driver on Kubernetes.

Why these options (cloud.google.com/storage/docs/cloud-storage-fuse/cli-options):

- What a host remembers of metadata hides what another has committed, and that a name was absent hides that it is there now.
  On the machine types of large TPUs and GPUs gcsfuse would remember for ever; so both times to live are 0.
- A checkpoint and a prepared split appear by renaming a folder. In a bucket without hierarchical namespace gcsfuse renames
  none unless a limit allows it.
- Folders that other tools have uploaded have no object of their own; without implicit-dirs they would be invisible.
"""

import re
import shlex

from launch.tools import SAID
from t5x_tasks.common.errors import UserError

FOLDER = "/data"
_OPTIONS = (
    "implicit-dirs",
    "rename-dir-limit=200000",
    "metadata-cache-ttl-secs=0",
    "metadata-cache-negative-ttl-secs=0",
)
_KEYRING = "/usr/share/keyrings/cloud.google.asc"
_PACKAGES = "https://packages.cloud.google.com/apt"
_ACCOUNT = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default"


def parse(url: str) -> str:
    """The name of a bucket.

    Raises:
      UserError: it is no gs://NAME, or no bucket can have that name (cloud.google.com/storage/docs/buckets#naming).
    """
    scheme, _, name = url.removesuffix("/").rpartition("//")
    if scheme != "gs:" or not name or "/" in name:
        raise UserError(
            f"--bucket: {url}: write gs://NAME, without a folder: that goes into run_dir={FOLDER}/..., for the bucket is "
            f"mounted at {FOLDER}"
        )
    longest = max(map(len, name.split(".")))
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", name) or longest > 63:
        raise UserError(
            f"--bucket: {url}: no bucket is named {name}: a name has 3 to 63 characters (with dots 222, each part at most 63), "
            "small letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"
        )
    return name


def csi_volume(name: str) -> dict[str, object]:
    """The bucket as a volume of a pod, by the Cloud Storage FUSE CSI driver, for whichever user its container has.

    Its options are gcsfuse's flags: some releases of gcsfuse let a machine type's defaults win over what the driver writes
    into a configuration file (gcsfuse issue 4271).
    """
    options = ",".join([*_OPTIONS, "file-mode=666", "dir-mode=777"])
    return {
        "driver": "gcsfuse.csi.storage.gke.io",
        "volumeAttributes": {"bucketName": name, "mountOptions": options},
    }


# A sidecar serves the mount. Its default limits are too small for checkpoints: each file that is written takes 64 MiB.
CSI_ANNOTATIONS = {
    "gke-gcsfuse/volumes": "true",
    **{f"gke-gcsfuse/{what}-limit": "0" for what in ("cpu", "memory", "ephemeral-storage")},
}


def mounted_script(folder: str) -> str:
    """Shell commands for a TPU VM: say, in a line that `Tools` shows as an error, when nothing is mounted at a folder."""
    said = shlex.quote(
        f": --mounted: nothing is mounted at {folder}, so what is written there goes with the slice; mount it on all workers"
    )
    return f'mountpoint --quiet {shlex.quote(folder)} || {{ echo "{SAID}$(hostname)"{said} >&2; exit 1; }}\n'


def mount_script(name: str) -> str:
    """Shell commands for a TPU VM: install gcsfuse if it is missing or too old, mount the bucket, try what a checkpoint does.

    It may be run again: what is mounted stays. Errors are one line, which `Tools` shows as an error.
    """
    options = shlex.join(f"--{option}" for option in _OPTIONS)
    return f"""\
said=$(mktemp)
trap 'rm -f "$said"' EXIT
last() {{ grep -v '^[[:space:]]*$' "$said" | tail -n 1 | cut -c 1-300; }}
fail() {{
  echo "{SAID}bucket gs://{name}: $(hostname): $1" >&2
  exit 1
}}
ask() {{ curl --silent --fail --max-time 5 --header Metadata-Flavor:Google "{_ACCOUNT}/$1"; }}
refuse() {{
  case $(ask scopes || echo cloud-platform) in
    *cloud-platform*|*devstorage.read_write*|*devstorage.full_control*)
      todo="let its account write there: gcloud storage buckets add-iam-policy-binding gs://{name} \
--member=serviceAccount:$(ask email || echo ACCOUNT) --role=roles/storage.objectUser; then start this again" ;;
    *) todo="the slice has no access scope for storage: delete it and start this again, which makes one with cloud-platform" ;;
  esac
  fail "$1 ($(last)); $todo"
}}

known() {{ gcsfuse {options} --version > /dev/null 2>&1; }}
install() {{
  sudo curl --silent --show-error --fail --location --output {_KEYRING} {_PACKAGES}/doc/apt-key.gpg &&
  echo "deb [signed-by={_KEYRING}] {_PACKAGES} gcsfuse-$(lsb_release -c -s) main" |
    sudo tee /etc/apt/sources.list.d/gcsfuse.list > /dev/null &&
  sudo apt-get -qq -o DPkg::Lock::Timeout=300 update &&
  sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --yes gcsfuse
}}
for pause in 0 10 60; do
  known && break
  sleep "$pause"
  install > "$said" 2>&1
done
known || fail "gcsfuse could not be installed ($(last)); it needs the network: Cloud NAT, or a public address"

mounted=$(findmnt --noheadings --output SOURCE --mountpoint {FOLDER})
if [ -n "$mounted" ] && ! LC_ALL=C ls {FOLDER} > "$said" 2>&1 && grep -q 'not connected' "$said"; then
  sudo umount --lazy {FOLDER}
  mounted=
fi
case $mounted in
  {name}) ;;
  '')
    sudo mkdir -p {FOLDER} && sudo chown "$(id -u):$(id -g)" {FOLDER} || exit 1
    gcsfuse {options} {name} {FOLDER} > "$said" 2>&1 || refuse "cannot be mounted"
    ;;
  *) fail "$mounted is mounted at {FOLDER} already; unmount it, or delete the slice" ;;
esac

probe={FOLDER}/.flan-t5x-$(hostname)-$$
{{ mkdir "$probe" && cp /proc/version "$probe/file" && mv "$probe" "$probe.moved" && rm -r "$probe.moved"; }} > "$said" 2>&1 ||
  refuse "cannot be written"
"""
