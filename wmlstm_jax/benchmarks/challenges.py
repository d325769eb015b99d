"""What the memory benchmark asks: tasks, the models that learn them, their tests."""

from dataclasses import dataclass, replace
from functools import partial

from wmlstm_jax.benchmarks.gpt import GPTConfig
from wmlstm_jax.benchmarks.learning import Course, count_params
from wmlstm_jax.models import POLICIES, ModelConfig
from wmlstm_jax.models.config import MATRIX
from wmlstm_jax.models.sizes import nearest_width
from wmlstm_jax.tasks import (
    Adding,
    AssociativeRecall,
    BinaryAddition,
    BinaryMultiplication,
    BucketSort,
    ComputeSqrt,
    Copy,
    CycleNavigation,
    Dialogues,
    DuplicateString,
    EvenPairs,
    ForgettingRecall,
    Form,
    MissingDuplicate,
    ModularArithmetic,
    ModularArithmeticBrackets,
    MultiQueryRecall,
    NoisyRecall,
    OddsFirst,
    ParityCheck,
    PrioritySort,
    RepeatCopy,
    ReverseString,
    SelectiveCopy,
    SolveEquation,
    StackManipulation,
    StateTracking,
    Stories,
    Task,
)

NEVER = 2.0
"""A target that stops nothing: what is right in training goes on to hold for longer."""
LSTM, GPT = "LSTM", "Transformer"
ORDERED = ("content", 0, 1, -1, "newest", "oldest")
WAYS: dict[str, dict] = {
    "WM-LSTM, fifo": {"policy": "fifo", "read_modes": ORDERED},
    "WM-LSTM, selective": {"policy": "selective", "read_modes": ORDERED},
    "WM-LSTM, top_k": {"policy": "top_k"},
    "WM-LSTM, matrix": {"policy": MATRIX},
}
"""The memories of the core card, by name."""

ALL_WAYS = WAYS | {
    "WM-LSTM, two heads": {
        "policy": "fifo",
        "num_heads": 2,
        "read_modes": (*ORDERED, 2),
    },
    **{
        f"WM-LSTM, {policy}": {"policy": policy}
        for policy in (*POLICIES, MATRIX)
        if f"WM-LSTM, {policy}" not in WAYS
    },
}
"""Every memory that there is; only what is in order can be read in order."""


@dataclass(frozen=True)
class Test:
    """What is asked after training.

    Args:
      task: the same task, with room for larger problems.
      low: the smallest size; 0 where the task has no sizes.
      high: the largest.
      num_slots: of the memories then; as in training if 0.
    """

    task: Task
    low: int = 0
    high: int = 0
    num_slots: int = 0


@dataclass(frozen=True)
class Challenge:
    """A task, how it is trained, and how it is tested.

    Args:
      course: the training.
      num_slots: N of the memories.
      tests: by what the report calls them.
      retention: the tasks whose answers are drawn against distance and overwrites.
    """

    course: Course
    num_slots: int
    tests: tuple[tuple[str, Test], ...]
    retention: bool = False


def sized(
    kind,
    trained: tuple[int, int],
    tested,
    slots: int,
    grown: bool,
    *,
    retention: bool = False,
    **course,
) -> Challenge:
    """A challenge on problems of some sizes, tested on others.

    Args:
      kind: the task, given its `max_size` and `min_size`.
      trained: the smallest and the largest size in training.
      tested: ranges of sizes.
      slots: N in training.
      grown: in tests on larger problems N grows with them.
      retention: as in `Challenge`.
      **course: of `Course`.
    """
    low, high = trained
    tests = []
    for first, last in (trained, *tested):
        more = slots * last // high if grown and last > high else 0
        label = str(first) if first == last else f"{first} to {last}"
        test = Test(kind(last, min_size=first), first, last, more)
        tests.append((label, test))
    trained_on = Course(kind(high, min_size=low), **course)
    return Challenge(trained_on, slots, tuple(tests), retention)


def recall(task: MultiQueryRecall, num_slots: int, **course) -> Challenge:
    """A challenge that is tested as it is trained."""
    tests = ((f"{task.num_pairs} pairs", Test(task)),)
    return Challenge(Course(task, **course), num_slots, tests, True)


noisy = partial(NoisyRecall, num_keys=32, num_values=32, num_noise=64, noise=0.8)
"""Four of five pairs are noise, the most that the paper has."""


def group(name: str):
    """State tracking in a group, given its sizes."""
    return lambda size, **more: StateTracking(size, group=name, **more)


CORE = {
    "copy": sized(
        Copy, (1, 20), [(40, 40), (100, 100), (500, 500)], 64, True,
        num_steps=1200, batch_size=8, eval_batch_size=64, target=NEVER,
    ),
    "associative recall": sized(
        AssociativeRecall, (2, 6), [(12, 12), (32, 32), (64, 64)], 64, True,
        target=NEVER,
    ),
    "multi-query recall": recall(
        MultiQueryRecall(64, 64, length=64), 64, num_steps=4000
    ),
    "forgetting recall": sized(
        partial(ForgettingRecall, num_live=16), (32, 48), [(96, 96)], 16, False,
        num_steps=1000, retention=True,
    ),
    "noisy recall": sized(
        noisy, (64, 64), [(128, 128)], 32, False, num_steps=1000, retention=True
    ),
    "selective copy": sized(
        SelectiveCopy, (1, 64), [(64, 64), (223, 223)], 24, False, num_steps=2000
    ),
    "reverse": sized(
        ReverseString, (1, 40), [(100, 100), (500, 500)], 96, True,
        num_steps=1000, eval_batch_size=64, target=NEVER,
    ),
    "S3": sized(
        group("S3"), (1, 32), [(128, 128), (512, 512)], 16, False,
        num_steps=1000, target=NEVER,
    ),
}  # fmt: skip
"""The eight tasks of the core card."""


def zoology(length: int, num_pairs: int, slots: int) -> Challenge:
    """A setting of Arora et al. 2023: 8,192 tokens, any of them between the queries."""
    task = MultiQueryRecall(
        num_keys=4095,
        num_values=4096,
        num_pairs=num_pairs,
        num_queries=num_pairs,
        length=length,
        filled=True,
    )
    return recall(task, slots, num_steps=2000, batch_size=64)


def tracking(name: str) -> Challenge:
    """State tracking, trained on up to 64 elements."""
    tests = [(256, 256), (2048, 2048)]
    return sized(group(name), (1, 64), tests, 16, False, target=NEVER)


def chomsky(kind, num_steps: int = 3000) -> Challenge:
    """A task of Delétang et al. 2023: trained to 40, tested on 41 to 500."""
    course = {"num_steps": num_steps, "target": NEVER}
    return sized(kind, (1, 40), [(41, 500)], 96, True, **course)


REST = {
    "repeat copy": sized(RepeatCopy, (1, 10), [(20, 20)], 128, True),
    "priority sort": sized(PrioritySort, (1, 16), [(24, 24)], 64, True),
    "adding": sized(Adding, (2, 50), [(200, 200)], 16, False),
    "parity": tracking("parity"),
    "S3, to 64": tracking("S3"),
    "S5": tracking("S5"),
    "recall of Zoology, 64": zoology(64, 4, 64),
    "recall of Zoology, 128": zoology(128, 8, 128),
    "recall of Zoology, 256": zoology(256, 16, 256),
    "recall of Zoology, 512": zoology(512, 64, 512),
    "stories": sized(Stories, (2, 10), [(20, 20)], 128, True),
    "dialogues": sized(Dialogues, (1, 10), [(20, 20), (50, 50)], 128, True),
    "even pairs": chomsky(EvenPairs),
    "modular arithmetic": chomsky(ModularArithmetic),
    "parity check": chomsky(ParityCheck),
    "cycle navigation": chomsky(CycleNavigation),
    "stack manipulation": chomsky(StackManipulation),
    "reverse string": chomsky(ReverseString),
    "modular arithmetic, brackets": chomsky(ModularArithmeticBrackets),
    "solve equation": chomsky(SolveEquation),
    "duplicate string": chomsky(DuplicateString),
    "missing duplicate": chomsky(MissingDuplicate),
    "odds first": chomsky(OddsFirst),
    "binary addition": chomsky(BinaryAddition, 12_000),
    "binary multiplication": chomsky(BinaryMultiplication),
    "compute sqrt": chomsky(ComputeSqrt),
    "bucket sort": chomsky(BucketSort),
}
"""What `--full` asks beside them; it is not bound to minutes a run."""

TINY = {
    "copy": sized(
        Copy, (1, 3), [(5, 5)], 4, True,
        num_steps=4, batch_size=2, eval_every=2, eval_batch_size=4,
    )
}  # fmt: skip


def contestants(
    challenge: Challenge, width: int, ways: dict[str, dict]
) -> dict[str, ModelConfig | GPTConfig]:
    """The models of a challenge, all as large as the largest memory at this width.

    Args:
      challenge: what they learn.
      width: D; H is half as much again.
      ways: the memories.
    """
    form = challenge.course.task.form
    memory = ModelConfig(
        embed_dim=width,
        hidden_dim=width + width // 2,
        num_heads=1,
        key_dim=width // 2,
        value_dim=width // 2,
        num_slots=challenge.num_slots,
    )
    named = {name: replace(memory, **way) for name, way in ways.items()}
    named[LSTM] = replace(memory, num_slots=0)
    wanted = max(count_params(model, form) for model in named.values())
    models: dict[str, ModelConfig | GPTConfig] = {
        name: _sized(model, "hidden_dim", form, wanted) for name, model in named.items()
    }
    gpt = GPTConfig(width, num_heads=2, num_layers=2, mlp_dim=1, vocab_size=0)
    models[GPT] = _sized(gpt, "mlp_dim", form, wanted)
    return models


def _sized(model, field: str, form: Form, wanted: int):
    """The same with the width at which its size is nearest."""

    def count(width: int) -> int:
        return count_params(replace(model, **{field: width}), form)

    return replace(model, **{field: nearest_width(count, wanted)})
