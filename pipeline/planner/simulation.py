"""Discrete-event simulation of a run: storage, decoders, a bounded buffer, labelers, commits.

Decoders, and labelers on CPUs, share the cores like processes under a fair scheduler: with `c`
cores and a total demand of `w` cores, each runs at `min(1, c / w)` of its speed. At any moment this
speed is the same for all, so a single virtual clock gives the end of every job, and an event costs
one heap operation however many actors there are. Machines are alike and evenly loaded. Labelers on
GPUs run in real time.

When a machine is lost, the jobs of its actors are repeated, and so is decoding that waits for room
in the buffer. Frames in the object store are kept.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pipeline.planner.scenario import Scenario
from pipeline.planner.unit_costs import Tasks, UnitCosts, tasks_of

_NEVER = math.inf


@dataclass(frozen=True)
class SimulationResult:
    """Result of a simulated run.

    Attributes:
        seconds: from the start of the graph to its last commit.
        labeling_from: start of the first call of a labeler, seconds.
        decoders_busy: share of the decoders' time spent decoding, 0 to 1.
        decoders_blocked: share of it spent waiting for room in the buffer.
        labelers_busy: share of the labelers' time spent labeling, from the first call on.
        preemptions: machines lost.
        redone_units: units whose work was repeated after a loss.
        labeled: (tasks,) how often each task was labeled, which is once.
        task_units: units per simulated task; `seconds` is exact to about the time of one task.
    """

    seconds: float
    labeling_from: float
    decoders_busy: float
    decoders_blocked: float
    labelers_busy: float
    preemptions: int
    redone_units: int
    labeled: tuple[int, ...]
    task_units: int


def simulate(
    costs: UnitCosts, units: int, scenario: Scenario, *, seed: int = 0
) -> SimulationResult:
    """Simulates a run of `units` units with costs drawn from `costs`.

    Deterministic for the same arguments.
    """
    return _Run(tasks_of(costs, units, scenario, np.random.default_rng(seed)), scenario, seed).run()


@dataclass
class _Server:
    """A resource with a rate per second, first come, first served; None for no limit."""

    rate: float | None
    free: float = 0.0

    def take(self, now: float, amount: float) -> float:
        """When a request of `amount` made now is served."""
        if self.rate is None:
            return now
        self.free = max(now, self.free) + amount / self.rate
        return self.free


@dataclass(eq=False)
class _Actor:
    """A decoder or a labeler, its machine, and its current job."""

    node: int
    decodes: bool
    job: _ActorJob | None = None


@dataclass(eq=False)
class _ActorJob:
    """Tasks that an actor works on; not `alive` once its machine was lost."""

    actor: _Actor
    tasks: list[int]
    began: float
    demand: float = 0.0
    alive: bool = True
    blocked_at: float | None = None


@dataclass
class _Totals:
    decode_s: float = 0.0
    blocked_s: float = 0.0
    label_s: float = 0.0
    preemptions: int = 0
    redone: int = 0
    uncommitted: int = 0
    end: float = 0.0
    label_from: float | None = None
    label_to: float = 0.0


@dataclass
class _Clock:
    """Real time, and the virtual time of jobs that share the cores."""

    cores: float
    now: float = 0.0
    virtual: float = 0.0
    demand: float = 0.0
    _timed: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _shared: list[tuple[float, int, _ActorJob, Callable[[], None]]] = field(default_factory=list)
    _number: int = 0

    def at(self, moment: float, then: Callable[[], None]) -> None:
        """Calls `then` at a moment of real time."""
        self._number += 1
        heapq.heappush(self._timed, (moment, self._number, then))

    def compute(
        self, job: _ActorJob, seconds: float, demand: float, then: Callable[[], None]
    ) -> None:
        """Calls `then` when a job has had `demand` cores for `seconds`."""
        self._number += 1
        job.demand = demand
        self.demand += demand
        heapq.heappush(self._shared, (self.virtual + seconds, self._number, job, then))

    def leave(self, job: _ActorJob) -> None:
        """Removes a job from the cores, finished or lost."""
        self.demand -= job.demand
        job.demand = 0.0

    def step(self) -> bool:
        """Advances to the next event; False where there is none."""
        while self._shared and not self._shared[0][2].alive:
            heapq.heappop(self._shared)
        speed = min(1.0, self.cores / self.demand) if self.demand > 1e-9 else 1.0
        timed = self._timed[0][0] if self._timed else _NEVER
        shared = _NEVER
        if self._shared:
            shared = self.now + max(0.0, self._shared[0][0] - self.virtual) / speed
        moment = min(timed, shared)
        if moment == _NEVER:
            return False
        self.virtual += (moment - self.now) * speed
        self.now = moment
        if shared <= timed:
            _, _, job, then = heapq.heappop(self._shared)
            self.leave(job)
            then()
        else:
            heapq.heappop(self._timed)[2]()
        return True


class _Run:
    """One simulation."""

    def __init__(self, tasks: Tasks, scenario: Scenario, seed: int) -> None:
        self.tasks, self.scenario, self.sums = tasks, scenario, _Totals()
        self.clock = _Clock(scenario.cores)
        limits = scenario.limits
        self.rows = _Server(limits.rows_per_s)
        self.bytes = _Server(limits.storage_bytes_per_s)
        self.requests = _Server(limits.storage_requests_per_s)
        self.commits = _Server(limits.commits_per_s)
        self.per_call = max(1, scenario.label_rows // tasks.units_per_task)
        self.room = max(self.per_call, scenario.buffer_units // tasks.units_per_task)
        self.queue = deque(range(len(tasks.units)))
        self.buffer: deque[int] = deque()
        self.again: deque[list[int]] = deque()
        self.blocked: deque[_ActorJob] = deque()
        self.labeled = [0] * len(tasks.units)
        self.left = len(tasks.units)
        self.decoding = 0
        self.idle_decoders: deque[_Actor] = deque()
        self.idle_labelers: deque[_Actor] = deque()
        self.random = random.Random(seed)
        nodes = scenario.nodes
        self.actors = [_Actor(i % nodes, True) for i in range(scenario.decoders)]
        self.actors += [_Actor(i % nodes, False) for i in range(scenario.labelers)]

    def run(self) -> SimulationResult:
        """Simulates until the last commit."""
        for actor in self.actors:
            start = (
                self.scenario.decoder_start_s if actor.decodes else self.scenario.labeler_start_s
            )
            self._join(actor, start)
        self._expect_preemption()
        while self.left and self.clock.step():
            pass
        return self._outcome()

    def _join(self, actor: _Actor, delay: float) -> None:
        idle = self.idle_decoders if actor.decodes else self.idle_labelers

        def joins() -> None:
            idle.append(actor)
            self._dispatch()

        self.clock.at(self.clock.now + delay, joins)

    def _dispatch(self) -> None:
        """Gives jobs to idle actors."""
        while self.idle_decoders and self.queue:
            self._decode(self.idle_decoders.popleft(), self.queue.popleft())
        while self.idle_labelers and (self.again or self._call_is_ready()):
            tasks = self.again.popleft() if self.again else self._next_call()
            self._label(self.idle_labelers.popleft(), tasks)

    def _call_is_ready(self) -> bool:
        waiting = len(self.buffer)
        none_to_come = not self.queue and not self.decoding
        return waiting >= self.per_call or (waiting > 0 and none_to_come)

    def _next_call(self) -> list[int]:
        call = [self.buffer.popleft() for _ in range(min(self.per_call, len(self.buffer)))]
        while self.blocked and len(self.buffer) < self.room:
            job = self.blocked.popleft()
            assert job.blocked_at is not None
            self.sums.blocked_s += self.clock.now - job.blocked_at
            self._hand_over(job)
        return call

    def _decode(self, actor: _Actor, task: int) -> None:
        now, tasks = self.clock.now, self.tasks
        actor.job = job = _ActorJob(actor, [task], now)
        self.decoding += 1
        units = int(tasks.units[task])
        ready = max(
            self.rows.take(now, units),
            self.bytes.take(now, float(tasks.bytes_read[task])),
            self.requests.take(now, units * self.scenario.requests_per_unit),
        )
        cpu_s = float(tasks.decode_cpu_s[task])

        def fetched() -> None:
            if job.alive:
                self.clock.compute(job, cpu_s, 1.0, lambda: self._decoded(job))

        self.clock.at(ready + float(tasks.decode_wait_s[task]), fetched)

    def _decoded(self, job: _ActorJob) -> None:
        self.sums.decode_s += self.clock.now - job.began
        if len(self.buffer) < self.room:
            self._hand_over(job)
            self._dispatch()
        else:
            job.blocked_at = self.clock.now
            self.blocked.append(job)

    def _hand_over(self, job: _ActorJob) -> None:
        self.decoding -= 1
        self.buffer.extend(job.tasks)
        job.actor.job = None
        if self.queue:
            self._decode(job.actor, self.queue.popleft())
        else:
            self.idle_decoders.append(job.actor)

    def _label(self, actor: _Actor, tasks: list[int]) -> None:
        now = self.clock.now
        actor.job = job = _ActorJob(actor, tasks, now)
        if self.sums.label_from is None:
            self.sums.label_from = now
        seconds = float(sum(self.tasks.label_s[task] for task in tasks))
        threads = self.scenario.labeler_threads

        def done() -> None:
            if job.alive:
                self._labeled(job)

        if threads is None:
            self.clock.at(now + seconds, done)
        else:
            self.clock.compute(job, seconds / threads, threads, done)

    def _labeled(self, job: _ActorJob) -> None:
        now = self.clock.now
        self.sums.label_s += now - job.began
        self.sums.label_to = now
        for task in job.tasks:
            self.labeled[task] += 1
        self.left -= len(job.tasks)
        self.sums.uncommitted += int(sum(self.tasks.units[task] for task in job.tasks))
        self._commit()
        job.actor.job = None
        self.idle_labelers.append(job.actor)
        self._dispatch()

    def _commit(self) -> None:
        """Commits whole files, and at the end the rest; a large task is several files."""
        sums, rows = self.sums, self.scenario.commit_rows
        files = sums.uncommitted // rows if self.left else math.ceil(sums.uncommitted / rows)
        if files:
            sums.uncommitted = max(0, sums.uncommitted - files * rows)
            sums.end = max(sums.end, self.commits.take(self.clock.now, files))

    def _expect_preemption(self) -> None:
        rate = self.scenario.preemptions_per_node_hour * self.scenario.nodes / 3600
        if rate > 0:
            self.clock.at(self.clock.now + self.random.expovariate(rate), self._preempt)

    def _preempt(self) -> None:
        """Loses a machine and the jobs of its actors; a replacement follows."""
        node = self.random.randrange(self.scenario.nodes)
        self.sums.preemptions += 1
        # Lost jobs come before tasks that were not begun.
        for actor in reversed(self.actors):
            if actor.node == node and self._is_there(actor):
                self._lose(actor)
        self._expect_preemption()
        self._dispatch()

    def _is_there(self, actor: _Actor) -> bool:
        idle = self.idle_decoders if actor.decodes else self.idle_labelers
        if actor.job is None and actor in idle:
            idle.remove(actor)
            return True
        return actor.job is not None

    def _lose(self, actor: _Actor) -> None:
        job, actor.job = actor.job, None
        if job is not None:
            job.alive = False
            self.clock.leave(job)
            self.sums.redone += int(sum(self.tasks.units[task] for task in job.tasks))
            if actor.decodes:
                self.decoding -= 1
                self.queue.extendleft(reversed(job.tasks))
                if job.blocked_at is not None:
                    self.blocked.remove(job)
            else:
                self.again.appendleft(job.tasks)
        start = self.scenario.decoder_start_s if actor.decodes else self.scenario.labeler_start_s
        self._join(actor, self.scenario.replacement_s + start)

    def _outcome(self) -> SimulationResult:
        sums, scenario = self.sums, self.scenario
        decoding = max(1e-9, scenario.decoders * sums.end)
        label_from = sums.label_from or 0.0
        labeling = max(1e-9, scenario.labelers * (sums.label_to - label_from))
        return SimulationResult(
            seconds=sums.end,
            labeling_from=label_from,
            decoders_busy=min(1.0, sums.decode_s / decoding),
            decoders_blocked=min(1.0, sums.blocked_s / decoding),
            labelers_busy=min(1.0, sums.label_s / labeling),
            preemptions=sums.preemptions,
            redone_units=sums.redone,
            labeled=tuple(self.labeled),
            task_units=self.tasks.units_per_task,
        )
