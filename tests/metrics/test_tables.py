from wmlstm_jax.metrics import markdown_table


def test_a_table_lines_up():
    assert markdown_table(("name", "n"), [("a", "10"), ("long one", "3")]) == (
        "| name     |  n |\n| -------- | -: |\n| a        | 10 |\n| long one |  3 |"
    )
