"""Finds the processes that train together, and this one's place: TF_CONFIG, SLURM, Kubernetes."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import tensorflow as tf

from common.cli import UserError
from common.storage.readers import parse_json
from trainers.settings import PlacementConfig

ClusterResolver = tf.distribute.cluster_resolver.ClusterResolver

# TensorFlow's ports: the first on each SLURM node, and that of each Kubernetes pod.
_SLURM_PORT, _KUBERNETES_PORT = 8888, 8470
# The pods of a job start one after another.
_POD_SECONDS, _SECONDS_BETWEEN_LOOKS = 600, 5


@dataclass(frozen=True)
class Cluster:
    """The processes that train together.

    Args:
      size: the number of processes.
      index: this process, counted from 0, which is the chief.
      resolver: TensorFlow's description of the cluster; None: there is only this process.
    """

    size: int = 1
    index: int = 0
    resolver: ClusterResolver | None = None

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes the results."""
        return self.index == 0


ALONE = Cluster()


def find_cluster(config: PlacementConfig) -> Cluster:
    """Returns the cluster of this process.

    Args:
      config: with any strategy other than "multiworker", there is only this process.

    Raises:
      UserError: the environment does not describe the cluster.

    Examples:
      >>> find_cluster(PlacementConfig()).is_chief
      True
    """
    if config.strategy != "multiworker":
        return ALONE
    jobs, task_type, index = _FINDERS[config.cluster](config)
    # Resolved only once, because the answer would change when a pod restarts.
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(jobs),
        task_type=task_type,
        task_id=index,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )
    chiefs = len(jobs.get("chief", ()))
    first = chiefs if task_type == "worker" else 0
    return Cluster(chiefs + len(jobs.get("worker", ())), first + index, resolver)


# The addresses by type of task, the type of this process, and its place among its type.
Found = tuple[dict[str, list[str]], str, int]


def _from_environment(unused_config: PlacementConfig) -> Found:
    text = os.environ.get("TF_CONFIG")
    if not text:
        raise UserError(
            "--strategy=multiworker finds no TF_CONFIG in the environment; set it on every worker, "
            "name another --cluster, or try it with shufflenet launch --workers=2"
        )
    try:
        value = parse_json(text)
        jobs, task = value["cluster"], value["task"]
        place = (jobs, task["type"], int(task["index"]))
        place[0][place[1]][place[2]]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"TF_CONFIG cannot be read ({type(error).__name__}: {error}); it must look like "
            '{"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}'
        ) from None
    others = set(jobs) - {"chief", "worker"}
    if others:
        raise UserError(
            f"TF_CONFIG has tasks of type {', '.join(sorted(others))}; only chief and worker are "
            "supported"
        )
    return place


def _from_slurm(unused_config: PlacementConfig) -> Found:
    try:
        tasks = int(os.environ["SLURM_STEP_NUM_TASKS"])
        # SLURM itself gives each task its GPUs (--gpus-per-task). The resolver would call
        # nvidia-smi, and fail on nodes that do not have it.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=_SLURM_PORT, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
        )
        addresses = resolver.cluster_spec().job_tasks("worker")
    except (KeyError, ValueError, RuntimeError) as error:
        raise UserError(
            f"--cluster=slurm finds no job step ({error}); start the workers with srun"
        ) from None
    index = resolver.task_id
    # The resolver sorts hosts as text, SLURM sorts them by number: n10 may come before n2.
    host, own = addresses[index].rpartition(":")[0], os.environ.get("SLURMD_NODENAME")
    if own and own != host:
        raise UserError(
            f"TensorFlow expects SLURM's task {index} on {host}, but it is on {own}; name the "
            "nodes in alphabetical order (--nodelist), or set TF_CONFIG"
        )
    return {"worker": list(addresses)}, "worker", index


def _from_kubernetes(config: PlacementConfig) -> Found:
    if not config.pods:
        raise UserError("--cluster=kubernetes needs --pods, the number of workers")
    client, kube = _kubernetes_client()
    try:
        kube.load_incluster_config()
    except kube.ConfigException as error:
        raise UserError(
            f"--cluster=kubernetes works only in a pod ({error}); set TF_CONFIG instead"
        ) from None
    resolver = tf.distribute.cluster_resolver.KubernetesClusterResolver(
        {"worker": [config.pod_label]},
        tf_server_port=_KUBERNETES_PORT,
        # The resolver's own client needs a user's kubeconfig, which no pod has.
        override_client=client.CoreV1Api(),
    )
    addresses = _all_pods(resolver.cluster_spec, config.pods)
    own = f"{os.environ.get('HOST_IP') or _own_address()}:{_KUBERNETES_PORT}"
    if own not in addresses:
        raise UserError(
            f"{own} is not one of the pods' addresses ({', '.join(addresses)}); set HOST_IP to the "
            "pod's status.hostIP, with hostNetwork and one pod on each node"
        )
    return {"worker": addresses}, "worker", addresses.index(own)


def _kubernetes_client() -> tuple[ModuleType, ModuleType]:
    try:
        from kubernetes import client
        from kubernetes import config as kube
    except ImportError:
        raise UserError(
            "--cluster=kubernetes needs Kubernetes' client; pip install kubernetes"
        ) from None
    return client, kube


def _all_pods(ask: Callable[[], tf.train.ClusterSpec], count: int) -> list[str]:
    """Waits until all pods run and returns their addresses."""
    deadline, state = time.monotonic() + _POD_SECONDS, ""
    while time.monotonic() < deadline:
        try:
            addresses = ask().as_dict().get("worker", [])
            if len(addresses) == count:
                return addresses
            state = f"{len(addresses)} have the label"
        # A pod is not running.
        except RuntimeError as error:
            state = str(error)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    raise UserError(
        f"{count} pods were not running after {_POD_SECONDS} s ({state}); check --pods and "
        "--pod_label"
    )


def _own_address() -> str:
    return socket.gethostbyname(socket.gethostname())


_FINDERS: dict[str, Callable[[PlacementConfig], Found]] = {
    "tf_config": _from_environment,
    "slurm": _from_slurm,
    "kubernetes": _from_kubernetes,
}
