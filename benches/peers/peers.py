"""Runs all peers on equal workloads, one peer after the other, and prints a table. Called by `benches/peers/run`."""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from problem import Many, Single

HERE = Path(__file__).resolve().parent
WORKLOADS = ["one-fit", "replicates", "multi-start", "quality"]
OPTIMUM = 1e-12
# What counts as the same optimum among the starts of a multi-start.
AGREEMENT = 1e-6

# One thread per process, whatever library would start more.
SINGLE = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}


def cores():
    return sorted(os.sched_getaffinity(0))


def pinned(chosen):
    """For a child process: only these cores."""
    return lambda: os.sched_setaffinity(0, chosen)


class Run:
    def __init__(self, arguments, folder):
        self.binary, self.folder = arguments.binary, folder
        self.repeats = 1 if arguments.quick else 3
        self.quick = arguments.quick
        self.rows = []

    def rust(self, workload, threads):
        """The Rust side's rows, on as many cores as threads."""
        command = [self.binary, "measure", workload, self.folder, str(threads), str(self.repeats)]
        text = subprocess.run(
            command, check=True, capture_output=True, text=True, preexec_fn=pinned(cores()[:threads])
        ).stdout
        rows = json.loads(text)
        for row in rows:
            row["theta"] = np.fromfile(row["estimates"]).reshape(-1, 5)
        return rows

    def python(self, workload, peer, loss, processes, count=0):
        """Best seconds, units of work, note and estimates of a Python peer in one process per core."""
        workers = []
        for k in range(processes):
            command = [sys.executable, str(HERE / "worker.py"), self.folder, workload, peer, loss]
            workers.append(
                subprocess.Popen(
                    [*command, str(k), str(processes), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    text=True, env={**os.environ, **SINGLE}, preexec_fn=pinned([cores()[k]]),
                )
            )
        for worker in workers:
            if worker.stdout.readline().strip() != "ready":
                raise SystemExit(f"{peer} ({workload}, {loss}) failed: see above")
        seconds = []
        for _ in range(1 if workload == "quality" else self.repeats):
            begun = time.perf_counter()
            for worker in workers:
                worker.stdin.write("go\n")
                worker.stdin.flush()
            for worker in workers:
                worker.stdout.readline()
            seconds.append(time.perf_counter() - begun)
        results = [json.loads(worker.communicate()[0]) for worker in workers]
        theta = [np.load(result["estimates"]) for result in results]
        return min(seconds), sum(r["count"] for r in results), results[0]["note"], theta

    def add(self, workload, peer, version, unit, seconds, value, note="", all_cores=None, share=None):
        """`value`: objectives, judged when all peers of a group are known; `share`: of starts at the optimum."""
        self.rows.append(
            dict(workload=workload, peer=peer, version=version, unit=unit, one_thread=seconds, all_cores=all_cores,
                 value=np.atleast_1d(value), note=note, share=share)
        )
        print(f"  {workload}: {peer} {version}", file=sys.stderr, flush=True)


def version(package):
    return importlib.metadata.version(package)


VERSIONS = {"numpy": "numpy", "jax": "jax", "scipy": "scipy"}


def version_of(peer):
    return version(VERSIONS[peer.split()[0]])


BATCHED = {"numpy": "batched NumPy LM", "jax": "batched JAX LM"}


def one_fit(run, sweepfit):
    from one_at_a_time import FITTERS

    points = Single(run.folder).points
    for row in run.rust("one-fit", 1):
        theta = points.coordinates(row["theta"])
        run.add(
            f"one fit, {row['loss']}", row["peer"], row.get("version", sweepfit), "fit",
            min(row["seconds"]) / row["count"], points.objective(theta, row["loss"]), row.get("note", ""),
        )
    for loss in ("l2", "huber"):
        for peer in [p for p, (l, _) in FITTERS.items() if l == loss] + list(BATCHED):
            count = {"numpy": 2048, "jax": 8192}.get(peer, 200)
            seconds, count, note, theta = run.python("one-fit", peer, loss, 1, count // (4 if run.quick else 1))
            run.add(
                f"one fit, {loss}", BATCHED.get(peer, peer), version_of(peer), "fit", seconds / count,
                points.objective(theta[0], loss), note,
            )


def on_all_cores(measure):
    """`measure(threads)` on one core and on all of them."""
    n = len(cores())
    return measure(1), measure(n) if n > 1 else None


def batched(run, workload, sweepfit, unit, objective, coordinates):
    """A workload that sweepfit and the batched peers do on one core and on all."""
    one, many = on_all_cores(lambda threads: run.rust(workload, threads))
    for k, row in enumerate(one):
        run.add(
            f"{workload}, {row['loss']}", row["peer"], sweepfit, unit, min(row["seconds"]) / row["count"],
            objective(coordinates(row["theta"]), row["loss"]),
            all_cores=many and min(many[k]["seconds"]) / row["count"],
        )
    for loss in ("l2", "huber"):
        for peer in BATCHED:
            one, many = on_all_cores(lambda threads: run.python(workload, peer, loss, threads))
            seconds, count, note, theta = one
            run.add(
                f"{workload}, {loss}", BATCHED[peer], version_of(peer), unit, seconds / count,
                objective(theta[0], loss), note, all_cores=many and many[0] / many[1],
            )


def replicates(run, sweepfit):
    single = Single(run.folder)
    objective = lambda theta, loss: single.points.objective(theta, loss, single.weight)
    batched(run, "replicates", sweepfit, "replicate", objective, single.points.coordinates)


def multi_start(run, sweepfit):
    many = Many(run.folder)
    sweep = np.arange(many.sweeps)
    owner = np.concatenate([sweep, np.repeat(sweep, many.replicates)])
    weight = many.weight.reshape(-1, many.weight.shape[-1])

    def objective(theta, loss):
        fits = many.points.objective(theta[: many.sweeps], loss, None, sweep)
        refits = many.points.objective(theta[many.sweeps :], loss, weight, owner[many.sweeps :])
        return np.concatenate([fits, refits])

    batched(run, "multi-start", sweepfit, "sweep", objective, lambda theta: many.points.coordinates(theta, owner))


def quality(run, sweepfit):
    points = Single(run.folder).points
    (row,) = run.rust("quality", 1)
    best = points.objective(points.coordinates(row["theta"]), "huber")
    run.add(
        "quality, huber", row["peer"], sweepfit, "start", min(row["seconds"]) / row["count"], best,
        f"{row['count']} starts", share=row["agreeing"] / row["count"],
    )
    n = 100 if run.quick else 500
    classic = ["scipy L-BFGS-B, mean, as published", "scipy L-BFGS-B, sum, as published", "scipy L-BFGS-B, sum, centred"]
    for peer in [*classic, "numpy"]:
        seconds, count, _, theta = run.python("quality", peer, "huber", 1, n)
        values = points.objective(theta[0], "huber")
        share = float(np.mean(values <= min(best[0], values.min()) * (1 + AGREEMENT)))
        name = BATCHED.get(peer, peer)
        run.add(
            "quality, huber", name, version_of(peer), "start", seconds / count, values.min(),
            f"{count} of the classic grid", share=share,
        )


def judge(rows):
    """Adds to every row: ratio to sweepfit, largest relative excess, share at the optimum."""
    for workload in dict.fromkeys(r["workload"] for r in rows):
        group = [r for r in rows if r["workload"] == workload]
        best = np.minimum.reduce([r["value"] for r in group])
        own = next(r for r in group if r["peer"].startswith("sweepfit"))
        for r in group:
            excess = r["value"] / best - 1
            r["excess"] = float(excess.max())
            if r["share"] is None:
                r["share"] = float(np.mean(excess <= OPTIMUM))
            r["ratio"] = r["one_thread"] / own["one_thread"]
            r["ratio_all"] = r["all_cores"] / own["all_cores"] if r["all_cores"] else None
            del r["value"]


def time_text(seconds):
    if seconds is None:
        return "–"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def table(rows):
    head = ["workload", "peer", "one thread, per", "", "÷ sweepfit", "all cores", "÷ sweepfit", "largest excess",
            "at optimum", "settings"]
    lines = [head, ["---"] * len(head)]
    for r in rows:
        ratio = lambda x: "–" if x is None else f"{x:.3g}"
        lines.append([
            r["workload"], f"{r['peer']} {r['version']}", r["unit"], time_text(r["one_thread"]), ratio(r["ratio"]),
            time_text(r["all_cores"]), ratio(r["ratio_all"]), f"{max(r['excess'], 0):.1e}",
            f"{100 * r['share']:.4g} %", r["note"],
        ])
    width = [max(len(line[i]) for line in lines) for i in range(len(head))]
    pad = lambda line: "| " + " | ".join(
        "-" * w if cell == "---" else cell.ljust(w) for cell, w in zip(line, width)) + " |"
    return "\n".join(pad(line) for line in lines)


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


def main():
    parser = argparse.ArgumentParser(prog="benches/peers/run", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, each thing once: only to try it")
    parser.add_argument("--out", type=Path, help="also write the table there: .json, or Markdown")
    parser.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--data", required=True, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    wrong = [w for w in arguments.workloads if w not in WORKLOADS]
    if wrong:
        parser.error(f"no workload {wrong[0]}; there are {', '.join(WORKLOADS)}")

    arguments.data.mkdir(parents=True, exist_ok=True)
    folder = str(arguments.data)
    sizes = ["400", "200"] if arguments.quick else ["4000", "2000"]
    subprocess.run([arguments.binary, "export", folder, *sizes], check=True)
    cargo = (HERE.parents[1] / "Cargo.toml").read_text()
    sweepfit = next(line.split('"')[1] for line in cargo.splitlines() if line.startswith("version"))
    run = Run(arguments, folder)
    todo = {"one-fit": one_fit, "replicates": replicates, "multi-start": multi_start, "quality": quality}
    for name in arguments.workloads or WORKLOADS:
        todo[name](run, sweepfit)
    judge(run.rows)
    about = (
        f"{processor()}, {len(cores())} cores, {datetime.date.today()}; data: {Single(folder).source}"
        f"{'; quick mode, not a measurement' if arguments.quick else ''}"
    )
    text = f"{about}\n\n{table(run.rows)}\n"
    print(text)
    if arguments.out:
        is_json = arguments.out.suffix == ".json"
        arguments.out.write_text(json.dumps({"machine": about, "rows": run.rows}, indent=1) if is_json else text)


if __name__ == "__main__":
    main()
