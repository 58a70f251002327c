"""The memory that is free, according to files as Linux writes them."""

import os
import subprocess
import sys

import jax
import pytest

from deepinternal.engine import memory
from tests import needs

GB = 10**9
KIB = 1024


@pytest.fixture
def machine(tmp_path):
    def made(files):
        free = {"proc/meminfo": f"MemFree: 1 kB\nMemAvailable:   {10 * GB // KIB} kB\n"}
        for name, text in (free | files).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return memory.free_on_host(tmp_path)

    return made


V1 = "sys/fs/cgroup/memory/"
IN_V1 = {"proc/self/cgroup": "5:cpu:/else\n4:memory:/jobs/one\n"}
IN_V2 = {"proc/self/cgroup": "0::/jobs/one\n"}


def v1(group, limit, used, cached=0):
    return {
        f"{V1}{group}memory.limit_in_bytes": f"{limit}\n",
        f"{V1}{group}memory.usage_in_bytes": f"{used}\n",
        f"{V1}{group}memory.stat": f"cache 7\ntotal_inactive_file {cached}\n",
    }


def v2(group, limit, used, cached=0):
    return {
        f"sys/fs/cgroup/{group}memory.max": f"{limit}\n",
        f"sys/fs/cgroup/{group}memory.current": f"{used}\n",
        f"sys/fs/cgroup/{group}memory.stat": f"anon 7\ninactive_file {cached}\n",
    }


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 10 * GB),
        (IN_V1 | v1("jobs/one/", 5 * GB, 2 * GB), 3 * GB),
        (IN_V1 | v1("jobs/one/", 5 * GB, 2 * GB, GB), 4 * GB),  # cached files are given up
        (IN_V1 | v1("jobs/one/", 2**63 - 4096, 2 * GB), 10 * GB),
        (IN_V1 | v1("", 5 * GB, 4 * GB), GB),  # in a container, whose root is its group
        (IN_V2 | v2("jobs/one/", "max", 2 * GB), 10 * GB),
        (IN_V2 | v2("jobs/one/", 8 * GB, 2 * GB) | v2("jobs/", 7 * GB, 3 * GB, GB), 5 * GB),
        (IN_V2 | v2("jobs/one/", GB, 2 * GB), 0),
    ],
)
def test_the_least_of_what_the_machine_and_the_groups_leave(machine, files, free):
    assert machine(files) == pytest.approx(free, abs=KIB)


def test_limits_of_the_process(machine):
    limits = "Limit        Soft Limit  Hard Limit  Units\n"
    limits += f"Max data size             {6 * GB}    unlimited   bytes\n"
    limits += "Max address space         unlimited   unlimited   bytes\n"
    status = f"Name: x\nVmSize: {9 * GB // KIB} kB\nVmData: {4 * GB // KIB} kB\n"
    files = {"proc/self/limits": limits, "proc/self/status": status}
    assert machine(files) == pytest.approx(2 * GB, abs=KIB)


@needs.PROC
def test_this_machine_with_a_limit():
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < memory.free(jax.local_devices()[0]) < whole
    code = "from deepinternal.engine import memory; print(memory.free_on_host())"
    limited = f"ulimit -v {3 * GB // KIB}; exec {sys.executable} -c '{code}'"
    found = subprocess.check_output(["sh", "-c", limited])
    assert 0 < float(found) < 3 * GB


def test_without_any_of_the_files(tmp_path):
    assert memory.free_on_host(tmp_path) == float("inf")


def test_an_accelerator_knows_its_own():
    class Device:
        def memory_stats(self):
            return {"bytes_limit": 100, "bytes_in_use": 30}

    assert memory.free(Device()) == 70
