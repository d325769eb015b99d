"""Tasks that make their own data: each samples a batch on the device, from a PRNG key.

Everything that trains on one sees no more of it than `Task`: so a new task is one class
in one module here.
"""

from wmlstm_jax.tasks.arithmetic import (
    BinaryAddition,
    BinaryMultiplication,
    ComputeSqrt,
)
from wmlstm_jax.tasks.expressions import (
    ModularArithmetic,
    ModularArithmeticBrackets,
    SolveEquation,
)
from wmlstm_jax.tasks.groups import StateTracking
from wmlstm_jax.tasks.keeping import ForgettingRecall, NoisyRecall, SelectiveCopy
from wmlstm_jax.tasks.recall import MultiQueryRecall
from wmlstm_jax.tasks.stories import Dialogues, Stories
from wmlstm_jax.tasks.strings import (
    BucketSort,
    CycleNavigation,
    DuplicateString,
    EvenPairs,
    MissingDuplicate,
    OddsFirst,
    ParityCheck,
    ReverseString,
    StackManipulation,
)
from wmlstm_jax.tasks.task import (
    Batch,
    Form,
    SizedTask,
    Task,
    accuracy,
    correct,
    nats,
)
from wmlstm_jax.tasks.vectors import (
    Adding,
    AssociativeRecall,
    Copy,
    PrioritySort,
    RepeatCopy,
)

__all__ = [
    "Adding",
    "AssociativeRecall",
    "Batch",
    "BinaryAddition",
    "BinaryMultiplication",
    "BucketSort",
    "ComputeSqrt",
    "Copy",
    "CycleNavigation",
    "Dialogues",
    "DuplicateString",
    "EvenPairs",
    "ForgettingRecall",
    "Form",
    "MissingDuplicate",
    "ModularArithmetic",
    "ModularArithmeticBrackets",
    "MultiQueryRecall",
    "NoisyRecall",
    "OddsFirst",
    "ParityCheck",
    "PrioritySort",
    "RepeatCopy",
    "ReverseString",
    "SelectiveCopy",
    "SizedTask",
    "SolveEquation",
    "StackManipulation",
    "StateTracking",
    "Stories",
    "Task",
    "accuracy",
    "correct",
    "nats",
]
