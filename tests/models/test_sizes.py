from hypothesis import example, given
from hypothesis import strategies as st

from wmlstm_jax.models.sizes import nearest_width

coefficients = st.integers(0, 30)


@given(st.integers(1, 5), coefficients, coefficients, st.integers(0, 2_000_000))
@example(4, 0, 0, 0)
@example(4, 0, 0, 30**2 * 4)
def test_no_width_is_nearer(square, line, jump, wanted):
    asked = []

    def count(width):
        asked.append(width)
        # A projection that one width does without.
        return square * width**2 + line * width + jump * width * (width > 64)

    found = nearest_width(count, wanted)
    assert len(asked) == len(set(asked)) <= 20
    error = abs(count(found) - wanted)
    near = range(max(1, found - 60), found + 60)
    assert error == min(abs(count(width) - wanted) for width in near)
    assert found == 1 or abs(count(found - 1) - wanted) > error
