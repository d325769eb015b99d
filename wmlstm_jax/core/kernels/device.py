"""What runs a kernel: an NVIDIA GPU (Mosaic, Hopper and later), or an interpreter.

A kernel sees *planes* `[n, m]`, and vectors that run *down* a plane (one number for
each of its rows) or *across* it (one for each column). To a GPU these are different
things, spread over the threads in different ways; who loads a vector says which it is
to be, and what was computed as one becomes the other through memory on the chip.
"""

import inspect
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from wmlstm_jax.core.types import Array

PLANE, DOWN, ACROSS = "plane", "down", "across"
FLAT = "flat"
"""The role of what is only copied."""
_AXES = ("group", "tile")


class Device(Protocol):
    """What a kernel and its caller need to know of a machine."""

    def load(self, ref: Any, index: tuple, role: str) -> Array:
        """`ref[index]`, a plane, or a vector in one of its roles."""
        ...

    def store(self, ref: Any, index: tuple, value: Array) -> None:
        """`ref[index] = value`, in the dtype of the ref."""
        ...

    def cast(self, value: Array, role: str) -> Array:
        """What was not loaded, such as a constant, in a role."""
        ...

    def scratch(self, shape: tuple[int, ...], dtype) -> Any:
        """Memory of one program, on the chip."""
        ...

    def program_id(self, axis: int) -> Array:
        """Where the program is in the grid, int32."""
        ...

    def sync(self) -> None:
        """What any thread of the program stored on the chip is there for all of them.

        It stands between a store and a load of what other threads stored, and between a
        load and a store in the same place.
        """
        ...

    def call(
        self, kernel: Callable, grid: tuple[int, ...], results: Any, scratch: Any
    ) -> Callable:
        """`kernel(*arguments, results, scratch)` as a function of arrays.

        Args:
          kernel: is given refs in the place of arrays.
          grid: how many programs.
          results: a tree of `jax.ShapeDtypeStruct`.
          scratch: a tree of what `scratch` gave.
        """
        ...


class Interpreter:
    """Runs a kernel as plain JAX, one program after another: slow, and anywhere."""

    def load(self, ref, index, role):
        """`ref[index]`."""
        del role
        return ref[index]

    def store(self, ref, index, value):
        """`ref[index] = value`."""
        ref[index] = value.astype(ref.dtype)

    def cast(self, value, role):
        """The value."""
        del role
        return value

    def scratch(self, shape, dtype):
        """Memory like any other."""
        return pl.MemoryRef(jax.typeof(jnp.zeros(shape, dtype)), pl.ANY)

    def program_id(self, axis):
        """Where the program is in the grid."""
        return pl.program_id(axis)

    def sync(self):
        """One thread needs none."""

    def call(self, kernel, grid, results, scratch):
        """See `Device`."""
        there = pl.BlockSpec(memory_space=pl.ANY)

        def run(*arguments):
            (result,) = pl.pallas_call(
                kernel,
                out_shape=(results,),
                grid=grid,
                in_specs=jax.tree.map(lambda _: there, arguments),
                out_specs=(jax.tree.map(lambda _: there, results),),
                scratch_shapes=(scratch,),
                interpret=True,
            )(*arguments)
            return result

        return run


class Hopper:
    """An NVIDIA GPU, by Pallas' Mosaic backend: a program is a group of 128 threads.

    A plane is spread in tiles of 16 rows by 32 columns: each of 4 warps has 4 rows, and
    8 threads of 4 columns each share a row, so that a warp reads whole rows of 128
    bytes. A vector that runs down is held by all 8 threads of its row, one that runs
    across by all that share its column.
    """

    def __init__(self):
        # It takes half a second to import, and most processes never need it.
        from jax.experimental.pallas import mosaic_gpu

        self._gpu = mosaic_gpu
        # From JAX 0.12 on it takes none.
        takes_index = "idx" in inspect.signature(mosaic_gpu.load).parameters
        self._no_index = ((),) if takes_index else ()
        # From then on a store is ideal unless it is made so.
        self._store = getattr(mosaic_gpu, "store", None)
        plane = mosaic_gpu.Layout.TILED(
            mosaic_gpu.Tiling(((16, 32), (4, 32), (4,))),
            warp_dims=(-5,),
            lane_dims=(-3, -2),
            vector_dim=-1,
        )
        self._layouts = {PLANE: plane, DOWN: plane.reduce(1), ACROSS: plane.reduce(0)}

    def load(self, ref, index, role):
        """From global or shared memory to registers.

        Vectors have copies in several threads, to which no load is ideal.
        """
        if role == FLAT:
            # Besides, shared memory that is filled from this layout is never swizzled,
            # and a swizzled plane has no single rows to write.
            shape = ref.at[index].shape
            layout = self._gpu.Layout.WG_STRIDED(shape, vec_size=4)
        else:
            layout = self._layouts[role]
        whole = ref.at[index]
        return self._gpu.load(whole, *self._no_index, layout=layout, optimized=False)

    def store(self, ref, index, value):
        """From registers to global or shared memory."""
        value = value.astype(ref.dtype)
        if value.ndim and self._store is not None:
            self._store(ref.at[index], value, optimized=False)
        else:
            ref[index] = value

    def cast(self, value, role):
        """In the layout of its role."""
        return self._gpu.layout_cast(value, self._layouts[role])

    def scratch(self, shape, dtype):
        """Shared memory."""
        return self._gpu.SMEM(shape, dtype)

    def program_id(self, axis):
        """Where the program is in the grid."""
        return jax.lax.axis_index(_AXES[axis])

    def sync(self):
        """A barrier for the 128 threads."""
        self._gpu.commit_smem()

    def call(self, kernel, grid, results, scratch):
        """See `Device`."""
        params = self._gpu.CompilerParams(
            # It would put two barriers around every store, to global memory as well.
            unsafe_no_auto_barriers=True,
            lowering_semantics=self._gpu.LoweringSemantics.Warpgroup,
        )
        rooms, rooms_tree = jax.tree.flatten(scratch)
        types, types_tree = jax.tree.flatten(results)

        def run(*arguments):
            arrays, tree = jax.tree.flatten(arguments)
            ends = len(arrays), len(arrays) + len(types)

            def body(*refs):
                given = jax.tree.unflatten(tree, refs[: ends[0]])
                gives = jax.tree.unflatten(types_tree, refs[ends[0] : ends[1]])
                kernel(*given, gives, jax.tree.unflatten(rooms_tree, refs[ends[1] :]))

            outs = self._gpu.kernel(
                body,
                out_type=types,
                scratch_types=rooms,
                grid=grid,
                grid_names=_AXES[: len(grid)],
                compiler_params=params,
            )(*arrays)
            return jax.tree.unflatten(types_tree, outs)

        return run
