import json
import sys
import types

import pytest

from common.cli import UserError
from trainers.distribution import cluster
from trainers.settings import PlacementConfig


def config(**values):
    return PlacementConfig(strategy="multiworker", **values)


def found(**values):
    result = cluster.find_cluster(config(**values))
    return result.size, result.index, result.resolver.cluster_spec().as_dict()


def test_other_strategies_have_only_this_process(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "no matter what")
    alone = cluster.find_cluster(PlacementConfig(strategy="mirrored"))
    assert alone == cluster.ALONE and alone.is_chief


@pytest.mark.parametrize(
    ("jobs", "task", "size", "index"),
    [
        ({"worker": ["a:1", "b:2"]}, ("worker", 1), 2, 1),
        ({"chief": ["a:1"], "worker": ["b:2", "c:3"]}, ("worker", 1), 3, 2),
        ({"chief": ["a:1"], "worker": ["b:2", "c:3"]}, ("chief", 0), 3, 0),
    ],
)
def test_tf_config(monkeypatch, jobs, task, size, index):
    value = {"cluster": jobs, "task": {"type": task[0], "index": task[1]}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(value))
    assert found() == (size, index, jobs)
    resolver = cluster.find_cluster(config()).resolver
    assert (resolver.task_type, resolver.task_id) == task


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        (None, r"finds no TF_CONFIG in the environment; .*shufflenet launch"),
        ("{", r"TF_CONFIG cannot be read \(JSONDecodeError"),
        ("{}", r"TF_CONFIG cannot be read \(KeyError: 'cluster'"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "IndexError"),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, '
            '"task": {"type": "worker", "index": 0}}',
            r"tasks of type ps; only chief and worker are supported",
        ),
    ],
)
def test_an_unusable_tf_config_is_refused(monkeypatch, text, pattern):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=pattern):
        cluster.find_cluster(config())


@pytest.fixture
def slurm(monkeypatch):
    """The environment of task 2 of 3; two of the tasks are on the first node."""
    values = {
        "PROCID": "2",
        "STEP_NUM_TASKS": "3",
        "STEP_NODELIST": "n[1-2]",
        "STEP_TASKS_PER_NODE": "2,1",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURMD_NODENAME", "n2")


def test_slurm(slurm):
    expected = {"worker": ["n1:8888", "n1:8889", "n2:8888"]}
    assert found(cluster="slurm") == (3, 2, expected)


def test_slurm_without_a_step_is_refused(slurm, monkeypatch):
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS")
    with pytest.raises(UserError, match=r"finds no job step .*; start the workers with srun"):
        cluster.find_cluster(config(cluster="slurm"))


def test_slurm_in_another_order_than_tensorflows_is_refused(slurm, monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NODELIST", "n[2,10]")
    with pytest.raises(UserError, match=r"task 2 on n2, but it is on n10"):
        monkeypatch.setenv("SLURMD_NODENAME", "n10")
        cluster.find_cluster(config(cluster="slurm"))


class FakePod:
    """A fake pod, as Kubernetes' client returns it."""

    def __init__(self, name, address, phase="Running"):
        self.metadata = types.SimpleNamespace(name=name)
        self.status = types.SimpleNamespace(host_ip=address, phase=phase)


@pytest.fixture
def kubernetes(monkeypatch):
    """A fake Kubernetes client; in the first two answers, pods are still starting."""
    answers = [
        [FakePod("w-0", "10.0.0.1")],
        [FakePod("w-1", None, "Pending"), FakePod("w-0", "10.0.0.1")],
        [FakePod("w-1", "10.0.0.2"), FakePod("w-0", "10.0.0.1")],
    ]
    asked = []

    class Api:
        def list_pod_for_all_namespaces(self, label_selector):
            asked.append(label_selector)
            return types.SimpleNamespace(items=answers.pop(0) if answers[1:] else answers[0])

    fake = types.ModuleType("kubernetes")
    fake.client = types.SimpleNamespace(CoreV1Api=Api)
    fake.config = types.SimpleNamespace(
        ConfigException=RuntimeError, load_incluster_config=lambda: None
    )
    monkeypatch.setitem(sys.modules, "kubernetes", fake)
    monkeypatch.setattr(cluster, "_SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.setenv("HOST_IP", "10.0.0.2")
    return asked


def test_kubernetes_waits_for_all_pods(kubernetes):
    expected = {"worker": ["10.0.0.1:8470", "10.0.0.2:8470"]}
    assert found(cluster="kubernetes", pods=2, pod_label="job-name=mine") == (2, 1, expected)
    assert kubernetes == ["job-name=mine"] * 3


def test_a_pod_that_is_not_of_the_job_is_refused(kubernetes, monkeypatch):
    monkeypatch.setenv("HOST_IP", "10.0.0.9")
    with pytest.raises(UserError, match=r"10\.0\.0\.9:8470 is not one of .*status\.hostIP"):
        cluster.find_cluster(config(cluster="kubernetes", pods=2))


def test_pods_that_never_run_are_reported(kubernetes, monkeypatch):
    monkeypatch.setattr(cluster, "_POD_SECONDS", 0.05)
    with pytest.raises(UserError, match=r"3 pods were not running .*2 have the label"):
        cluster.find_cluster(config(cluster="kubernetes", pods=3))


def test_kubernetes_needs_its_client_and_the_number_of_pods(monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(UserError, match="needs --pods"):
        cluster.find_cluster(config(cluster="kubernetes"))
    with pytest.raises(UserError, match="pip install kubernetes"):
        cluster.find_cluster(config(cluster="kubernetes", pods=2))
